# 64-bit ARM: Raspberry Pi 3 and later with a 64-bit system, and most other boards.
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(FIELDGATE_TRIPLET aarch64-linux-gnu)
set(FIELDGATE_QEMU qemu-aarch64)
set(FIELDGATE_QEMU_CPU cortex-a53)
set(FIELDGATE_DEBIAN_ARCHITECTURE arm64)
include(${CMAKE_CURRENT_LIST_DIR}/debian.cmake)
