#!/usr/bin/python3
"""A Modbus device by pymodbus 3: pymodbus_server.py tcp PORT IMAGE, or rtu DEVICE IMAGE.

The image is a file of two lines: registers, which are holding and input registers alike, and bits, which are coils
and discrete inputs. Says "ready" soon before it can be asked; ends with its standard input. Exit status 77: there is
no pymodbus 3.
"""

import os
import sys
import threading

try:
    from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
    from pymodbus.server import StartSerialServer, StartTcpServer
    from pymodbus.transaction import ModbusRtuFramer
except ImportError:
    sys.exit(77)


def end_with_input():
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)


def main():
    way, where, image = sys.argv[1:]
    with open(image, encoding="ascii") as file:
        registers, bits = ([int(text) for text in line.split()] for line in file)
    blocks = {name: ModbusSequentialDataBlock(0, list(values))
              for name, values in (("hr", registers), ("ir", registers), ("co", bits), ("di", bits))}
    context = ModbusServerContext(slaves=ModbusSlaveContext(zero_mode=True, **blocks), single=True)
    threading.Thread(target=end_with_input, daemon=True).start()
    os.write(1, b"ready\n")
    if way == "tcp":
        StartTcpServer(context=context, address=("127.0.0.1", int(where)))
    else:
        StartSerialServer(context=context, framer=ModbusRtuFramer, port=where, baudrate=115200, timeout=0.05)


main()
