/*
 * A mosquitto of the test's own on a free loopback port: no bounds on what it queues, its sessions on disk.
 * It can be killed, frozen and started again at the same port; it dies with the test.
 */
#ifndef FIELDGATE_TEST_E2E_BROKER_H
#define FIELDGATE_TEST_E2E_BROKER_H

#include "support/tempdir.h"

#include <sys/types.h>

struct e2e_broker {
    unsigned port;
    pid_t pid; /* 0: not running */
    char folder[TEMPDIR_PATH];
};

/* Chooses the port and writes the configuration; nothing runs yet. */
void e2e_broker_init(struct e2e_broker *broker, const char *folder);

/* Starts it, or starts it again with what it had saved, and waits until it answers. */
void e2e_broker_start(struct e2e_broker *broker);

/* Saves sessions and retained messages now, as a later start after a kill will find them. */
void e2e_broker_save(struct e2e_broker *broker);

void e2e_broker_kill(struct e2e_broker *broker);   /* SIGKILL; nothing where it does not run */
void e2e_broker_freeze(struct e2e_broker *broker); /* it stays connected and says nothing */
void e2e_broker_thaw(struct e2e_broker *broker);

#endif
