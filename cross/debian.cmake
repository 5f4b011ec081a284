# What the toolchain files of this folder share: a cross compiler of Debian, and a sysroot with the target's headers
# and libraries. FIELDGATE_SYSROOT, or SYSROOT in the environment, names the sysroot; docs/cross.md tells more.
set(CMAKE_SYSTEM_NAME Linux)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES FIELDGATE_SYSROOT)

if(NOT FIELDGATE_SYSROOT AND DEFINED ENV{SYSROOT})
  set(FIELDGATE_SYSROOT $ENV{SYSROOT})
endif()
# Kept, so that a later run without the environment finds the same; the type makes a relative path absolute.
set(FIELDGATE_SYSROOT "${FIELDGATE_SYSROOT}" CACHE PATH "The target's headers and libraries")
if(NOT EXISTS "${FIELDGATE_SYSROOT}/usr/include/stdio.h")
  message(FATAL_ERROR "FIELDGATE_SYSROOT (\"${FIELDGATE_SYSROOT}\") has no usr/include/stdio.h: name a folder with the "
    "target's usr/include, usr/lib and lib, such as cross/make-sysroot makes")
endif()
set(CMAKE_SYSROOT ${FIELDGATE_SYSROOT})
set(CMAKE_FIND_ROOT_PATH ${FIELDGATE_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_LIBRARY_ARCHITECTURE ${FIELDGATE_TRIPLET})

# Where the compiler's packages bring a C library of their own, its headers and startup files would go before the
# sysroot's, and a program for an older system would not start there. So the places are told one by one.
find_program(FIELDGATE_GCC ${FIELDGATE_TRIPLET}-gcc)
mark_as_advanced(FIELDGATE_GCC)
if(NOT FIELDGATE_GCC)
  message(FATAL_ERROR "${FIELDGATE_TRIPLET}-gcc was not found: script/install-deps cross")
endif()
execute_process(COMMAND ${FIELDGATE_GCC} -print-file-name=include OUTPUT_VARIABLE gcc_headers
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(CMAKE_C_COMPILER ${FIELDGATE_GCC} ${FIELDGATE_MACHINE_FLAGS} -nostdinc -isystem ${gcc_headers}
  -isystem ${FIELDGATE_SYSROOT}/usr/include/${FIELDGATE_TRIPLET} -isystem ${FIELDGATE_SYSROOT}/usr/include
  -B${FIELDGATE_SYSROOT}/usr/lib/${FIELDGATE_TRIPLET}/ -B${FIELDGATE_SYSROOT}/lib/${FIELDGATE_TRIPLET}/)

set(ENV{PKG_CONFIG_SYSROOT_DIR} ${FIELDGATE_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR}
  ${FIELDGATE_SYSROOT}/usr/lib/${FIELDGATE_TRIPLET}/pkgconfig:${FIELDGATE_SYSROOT}/usr/share/pkgconfig)
unset(ENV{PKG_CONFIG_PATH})

# Tests run under qemu-user where it is installed, as the oldest processor that is meant.
find_program(FIELDGATE_EMULATOR NAMES ${FIELDGATE_QEMU}-static ${FIELDGATE_QEMU})
mark_as_advanced(FIELDGATE_EMULATOR)
if(FIELDGATE_EMULATOR)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${FIELDGATE_EMULATOR} -cpu ${FIELDGATE_QEMU_CPU} -L ${FIELDGATE_SYSROOT})
endif()
