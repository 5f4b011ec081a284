#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("fieldgatectl %s\n", FG_VERSION);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        printf("usage: fieldgatectl --version | --help\n");
        return 0;
    }
    fprintf(stderr, "usage: fieldgatectl --version | --help\n");
    return 2;
}
