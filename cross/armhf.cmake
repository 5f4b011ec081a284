# 32-bit ARMv7 with floating point: Raspberry Pi 2 and later with a 32-bit system, BeagleBone, Orange Pi.
set(CMAKE_SYSTEM_PROCESSOR armv7l)
set(FIELDGATE_TRIPLET arm-linux-gnueabihf)
set(FIELDGATE_QEMU qemu-arm)
set(FIELDGATE_QEMU_CPU cortex-a7)
set(FIELDGATE_DEBIAN_ARCHITECTURE armhf)
include(${CMAKE_CURRENT_LIST_DIR}/debian.cmake)
