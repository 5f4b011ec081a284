#include <stdio.h>

int main(void)
{
    printf("fieldgated %s\n", FG_VERSION);
    return 0;
}
