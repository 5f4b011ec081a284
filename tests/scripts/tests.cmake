# Tests that are shell scripts: each is given the daemon, the source folder and the build folder.
foreach(name completions-complete examples-are-accepted full-example-is-complete installs-a-working-tree)
  add_test(NAME scripts/${name}
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/scripts/${name}.sh $<TARGET_FILE:fieldgated> ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  set_tests_properties(scripts/${name} PROPERTIES TIMEOUT 60 LABELS scripts)
endforeach()
