/*
 * fg_log_open with the journal's socket at another path, for tests.
 */
#ifndef FIELDGATE_BASE_LOG_JOURNAL_H
#define FIELDGATE_BASE_LOG_JOURNAL_H

#include "fieldgate/log.h"

/* As fg_log_open. A path too long for a socket address is as a journal that is not there. */
void fg_log_open_at(enum fg_log_level level, const char *journal_path);

#endif
