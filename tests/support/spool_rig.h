/* A spool in a folder of its own, whose messages are numbered in their payloads, and what it has told. */
#ifndef FIELDGATE_TEST_SPOOL_RIG_H
#define FIELDGATE_TEST_SPOOL_RIG_H

#include "mqtt/spool.h"

#include "support/tempdir.h"

#define SPOOL_RIG_DEVICES 3
#define SPOOL_RIG_MAX     20000

struct spool_rig {
    char folder[TEMPDIR_PATH];
    char path[TEMPDIR_PATH + 32];
    struct fg_spool_settings settings;
    struct fg_spool_events events;
    struct fg_spool_time time;
    const char *vfs, *boot;
    struct fg_spool *spool;
    struct fg_origin *origins[SPOOL_RIG_DEVICES];
    size_t padding;      /* bytes of a payload beside the number */
    bool unsynchronised; /* messages are */
    unsigned made;       /* numbers given so far: the first is 1 */

    /* What was told */
    uint64_t lost, lost_bytes;
    uint64_t lost_of[SPOOL_RIG_DEVICES];
    enum fg_loss reason; /* of the last */
    int64_t lost_from_ms, lost_to_ms;
    unsigned damages;
    uint64_t salvaged, missing;
    int64_t damage_from_ms, damage_to_ms;
    char set_aside[256], why[768];
};

void spool_rig_start(struct spool_rig *rig);
void spool_rig_stop(struct spool_rig *rig);

/* A new spool object, opened; its result. The one before is freed, which closes it. */
int spool_rig_open(struct spool_rig *rig);

/* Frees the spool as a power cut does: what SQLite would do at a close is not done. */
void spool_rig_crash(struct spool_rig *rig);

/* Appends count new messages in one chain. */
int spool_rig_append(struct spool_rig *rig, unsigned count);

/* Reads all there is in chunks, and tells the numbers and the ids (may be NULL) in their order. Fails the
 * test where a message is not as it was appended. Returns how many, or a negative errno. */
int spool_rig_read(struct spool_rig *rig, unsigned *numbers, int64_t *ids, unsigned room);

/* Fails the test unless exactly the numbers first..last are there, in this order. */
void spool_rig_expect(struct spool_rig *rig, unsigned first, unsigned last);

/* The size of a file beside the spool ("" for its own), -1 where there is none. */
int64_t spool_rig_size(const struct spool_rig *rig, const char *suffix);

/* Files in the folder whose names contain a text. */
unsigned spool_rig_files(const struct spool_rig *rig, const char *part);

#endif
