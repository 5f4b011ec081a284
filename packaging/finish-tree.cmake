# Between installing into the package's tree and packing it: what only a package has. cmake --install leaves the
# configuration of a machine alone; here it is a conffile, which dpkg takes care of.
set(tree ${CPACK_TEMPORARY_INSTALL_DIRECTORY})
set(source ${CPACK_FIELDGATE_SOURCE})

file(MAKE_DIRECTORY ${tree}/etc/fieldgate ${tree}/usr/share/doc/fieldgate)
file(COPY_FILE ${source}/config/starter.cfg ${tree}/etc/fieldgate/fieldgate.cfg)
file(COPY_FILE ${source}/packaging/debian/copyright ${tree}/usr/share/doc/fieldgate/copyright)
file(COPY_FILE ${source}/packaging/debian/changelog ${tree}/usr/share/doc/fieldgate/changelog)

# Where Debian's zsh looks for what packages bring.
if(EXISTS ${tree}/usr/share/zsh/site-functions)
  file(RENAME ${tree}/usr/share/zsh/site-functions ${tree}/usr/share/zsh/vendor-completions)
endif()

file(GLOB pages ${tree}/usr/share/man/man*/*.[1-9])
execute_process(COMMAND gzip -9nf ${pages} ${tree}/usr/share/doc/fieldgate/changelog COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND find ${tree} -type d -exec chmod 0755 {} + COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND find ${tree} -type f -not -path */bin/* -not -path */sbin/* -exec chmod 0644 {} +
  COMMAND_ERROR_IS_FATAL ANY)
