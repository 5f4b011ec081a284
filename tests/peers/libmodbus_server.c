/*
 * A Modbus device by libmodbus: libmodbus_server tcp PORT IMAGE, or rtu DEVICE IMAGE. The image is a file of
 * two lines: registers, which are holding and input registers alike, and bits, which are coils and discrete
 * inputs. Says "ready" when it can be asked; ends with its standard input.
 */
#include <errno.h>
#include <modbus.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIT 1

static int read_line(FILE *file, uint16_t *values, int most)
{
    int count = 0;
    char end = ' ';
    unsigned value = 0;
    while (end == ' ' && count < most && fscanf(file, "%u%c", &value, &end) == 2) {
        values[count++] = (uint16_t)value;
    }
    return count;
}

static modbus_mapping_t *read_image(const char *path)
{
    static uint16_t registers[1024], bits[1024];
    FILE *file = fopen(path, "r");
    if (!file) {
        return NULL;
    }
    int register_count = read_line(file, registers, 1024);
    int bit_count = read_line(file, bits, 1024);
    fclose(file);
    modbus_mapping_t *image = modbus_mapping_new(bit_count, bit_count, register_count, register_count);
    for (int i = 0; image && i < register_count; i++) {
        image->tab_registers[i] = image->tab_input_registers[i] = registers[i];
    }
    for (int i = 0; image && i < bit_count; i++) {
        image->tab_bits[i] = image->tab_input_bits[i] = (uint8_t)bits[i];
    }
    return image;
}

/* Waits for a request; the end of our own input is the end. */
static void wait_for_request(modbus_t *modbus)
{
    struct pollfd ready[] = { { .fd = STDIN_FILENO, .events = POLLIN },
                              { .fd = modbus_get_socket(modbus), .events = POLLIN } };
    while (poll(ready, 2, -1) < 0) {
    }
    if (ready[0].revents) {
        exit(0);
    }
}

static void serve(modbus_t *modbus, modbus_mapping_t *image)
{
    uint8_t request[MODBUS_MAX_ADU_LENGTH];
    for (;;) {
        wait_for_request(modbus);
        int size = modbus_receive(modbus, request);
        if (size > 0) {
            modbus_reply(modbus, request, size, image);
        } else if (size < 0 && (errno == ECONNRESET || errno == EBADF)) {
            return;
        }
    }
}

int main(int argc, char **argv)
{
    bool tcp = argc == 4 && strcmp(argv[1], "tcp") == 0;
    modbus_mapping_t *image = argc == 4 ? read_image(argv[3]) : NULL;
    modbus_t *modbus = NULL;
    if (image) {
        modbus =
            tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], 115200, 'N', 8, 1);
    }
    if (!modbus || modbus_set_slave(modbus, UNIT) < 0) {
        fprintf(stderr, "libmodbus_server: %s\n", modbus_strerror(errno));
        return 1;
    }
    int listener = tcp ? modbus_tcp_listen(modbus, 4) : -1;
    if (tcp ? listener < 0 : modbus_connect(modbus) < 0) {
        fprintf(stderr, "libmodbus_server: %s\n", modbus_strerror(errno));
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    do {
        if (tcp) {
            modbus_tcp_accept(modbus, &listener);
        }
        serve(modbus, image);
    } while (tcp);
    return 0;
}
