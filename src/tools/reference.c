/* Writes the reference page of the configuration: docs/configuration.md. */
#include "fieldgate/config.h"
#include "fieldgate/gateway.h"

int main(void)
{
    return fg_config_write_reference(stdout, &fg_settings_schema) == 0 && fflush(stdout) == 0 ? 0 : 1;
}
