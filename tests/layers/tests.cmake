find_package(Python3 REQUIRED COMPONENTS Interpreter)

set(check_layers ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/check_layers.py)
add_test(NAME layers/includes COMMAND ${check_layers} ${CMAKE_SOURCE_DIR})
add_test(NAME layers/self_check COMMAND ${check_layers} --self-check)
set_tests_properties(layers/includes layers/self_check PROPERTIES TIMEOUT 60 LABELS layers)
