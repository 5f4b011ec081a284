add_test(NAME docs/reference_is_current COMMAND ${CMAKE_COMMAND} -E env bash -c
  "\$FG_TEST_WRAPPER '$<TARGET_FILE:fieldgate-reference>' | diff -u '${CMAKE_SOURCE_DIR}/docs/configuration.md' - || { echo 'docs/configuration.md is stale: build the target reference'; exit 1; }")
set_tests_properties(docs/reference_is_current PROPERTIES TIMEOUT 30)
