# Modbus devices by others, for integration/test_modbus_peers. Where one is missing, its tests are skipped.
pkg_check_modules(LIBMODBUS QUIET IMPORTED_TARGET libmodbus)
target_compile_definitions(integration_test_modbus_peers PRIVATE
  FG_TEST_PYMODBUS="${CMAKE_CURRENT_LIST_DIR}/pymodbus_server.py")
if(LIBMODBUS_FOUND)
  add_executable(libmodbus_server ${CMAKE_CURRENT_LIST_DIR}/libmodbus_server.c)
  set_target_properties(libmodbus_server PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(libmodbus_server PRIVATE fieldgate_options PkgConfig::LIBMODBUS)
  target_compile_definitions(integration_test_modbus_peers PRIVATE
    FG_TEST_LIBMODBUS="$<TARGET_FILE:libmodbus_server>")
  add_dependencies(integration_test_modbus_peers libmodbus_server)
endif()
