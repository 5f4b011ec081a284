# The benchmark: cmake --build build --target bench. It is no test, since how fast a machine is today proves nothing;
# what ctest runs is a few hundred readings through all of its programs, to see that they and the daemon tell the truth.
set(BENCH_DIR ${CMAKE_BINARY_DIR}/tests/bench)
add_library(bench_common STATIC ${CMAKE_CURRENT_LIST_DIR}/bench.c)
target_link_libraries(bench_common PUBLIC fieldgate_options)
foreach(name load sink baseline subscriber echo modbus_devices)
  add_executable(bench_${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
  set_target_properties(bench_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${BENCH_DIR})
  target_link_libraries(bench_${name} PRIVATE bench_common)
  list(APPEND BENCH_PROGRAMS bench_${name})
endforeach()
foreach(name baseline subscriber)
  target_link_libraries(bench_${name} PRIVATE PkgConfig::MOSQUITTO)
endforeach()
target_sources(bench_echo PRIVATE ${CMAKE_CURRENT_LIST_DIR}/echo_client.c)
pkg_check_modules(BENCH_URING QUIET IMPORTED_TARGET liburing)
if(BENCH_URING_FOUND)
  target_compile_definitions(bench_echo PRIVATE BENCH_IO_URING=1)
  target_link_libraries(bench_echo PRIVATE PkgConfig::BENCH_URING)
endif()

set(bench_run ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/run.py --daemon $<TARGET_FILE:fieldgated>
  --programs ${BENCH_DIR} --build-type "${CMAKE_BUILD_TYPE}${FIELDGATE_SANITIZE}")
add_custom_target(bench
  COMMAND ${bench_run} --json ${CMAKE_BINARY_DIR}/bench.json
  DEPENDS fieldgated ${BENCH_PROGRAMS} USES_TERMINAL VERBATIM COMMENT "Measuring; see docs/benchmarks.md")
add_custom_target(bench-quick
  COMMAND ${bench_run} --quick --json ${CMAKE_BINARY_DIR}/bench.json
  DEPENDS fieldgated ${BENCH_PROGRAMS} USES_TERMINAL VERBATIM COMMENT "Measuring once and little")
add_custom_target(bench-modbus
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/modbus.py --daemon $<TARGET_FILE:fieldgated>
    --programs ${BENCH_DIR}
  DEPENDS fieldgated bench_modbus_devices USES_TERMINAL VERBATIM COMMENT "Polling; see docs/benchmarks.md")
add_test(NAME bench/smoke COMMAND ${bench_run} --smoke)
set_tests_properties(bench/smoke PROPERTIES TIMEOUT 120 LABELS bench)

# What the spool writes for a message.
add_executable(bench_spool_cost ${CMAKE_CURRENT_LIST_DIR}/spool_cost.c)
set_target_properties(bench_spool_cost PROPERTIES OUTPUT_NAME spool_cost RUNTIME_OUTPUT_DIRECTORY ${BENCH_DIR})
target_include_directories(bench_spool_cost PRIVATE ${CMAKE_SOURCE_DIR}/src)
target_link_libraries(bench_spool_cost PRIVATE fieldgate)
