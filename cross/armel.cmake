# 32-bit ARMv6 (Raspberry Pi 1 and Zero) with Debian armel. Debian's armhf compiler is no choice for these boards: it
# brings startup code of ARMv7, which -march does not change.
set(CMAKE_SYSTEM_PROCESSOR armv6l)
set(FIELDGATE_TRIPLET arm-linux-gnueabi)
set(FIELDGATE_MACHINE_FLAGS -march=armv6)
set(FIELDGATE_QEMU qemu-arm)
set(FIELDGATE_QEMU_CPU arm1176)
set(FIELDGATE_DEBIAN_ARCHITECTURE armel)
include(${CMAKE_CURRENT_LIST_DIR}/debian.cmake)
