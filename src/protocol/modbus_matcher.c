#include "modbus_matcher.h"

#include <errno.h>
#include <string.h>

/* The shortest answer: an exception. */
#define RTU_ANSWER_MIN 5

void fg_modbus_matcher_init(struct fg_modbus_matcher *matcher, enum fg_modbus_mode mode)
{
    memset(matcher, 0, sizeof *matcher);
    matcher->mode = mode;
    matcher->echo = mode == FG_MODBUS_RTU ? FG_MODBUS_ECHO_UNKNOWN : FG_MODBUS_ECHO_NO;
    matcher->transaction = 0x0100;
}

/* ---- what was sent ---- */

void fg_modbus_matcher_forget(struct fg_modbus_matcher *matcher, size_t index)
{
    matcher->sent_count--;
    memmove(&matcher->sent[index], &matcher->sent[index + 1],
            (matcher->sent_count - index) * sizeof matcher->sent[0]);
}

static void given_up(struct fg_modbus_matcher *matcher, struct fg_modbus_sent *sent)
{
    sent->request = NULL;
    matcher->outstanding--;
}

/* On RTU the only one. */
static struct fg_modbus_sent *outstanding(struct fg_modbus_matcher *matcher)
{
    for (size_t i = matcher->sent_count; i > 0 && matcher->outstanding > 0; i--) {
        if (matcher->sent[i - 1].request) {
            return &matcher->sent[i - 1];
        }
    }
    return NULL;
}

static struct fg_modbus_sent *latest_of_unit(struct fg_modbus_matcher *matcher, uint8_t unit)
{
    for (size_t i = matcher->sent_count; i > 0; i--) {
        if (matcher->sent[i - 1].unit == unit) {
            return &matcher->sent[i - 1];
        }
    }
    return NULL;
}

/* No byte of a transaction is 0: so a byte or three of noise before a frame do not make another header. */
static uint16_t next_transaction(uint16_t transaction)
{
    do {
        transaction++;
    } while ((transaction & 0xFF) == 0 || transaction >> 8 == 0);
    return transaction;
}

/* Returns whether there is room for one more. */
static bool make_room(struct fg_modbus_matcher *matcher)
{
    if (matcher->sent_count < FG_MODBUS_SENT_MAX) {
        return true;
    }
    /* On TCP the transactions of those given up are kept for the reason's sake only. */
    for (size_t i = 0; i < matcher->sent_count && matcher->mode == FG_MODBUS_TCP; i++) {
        if (!matcher->sent[i].request) {
            fg_modbus_matcher_forget(matcher, i);
            return true;
        }
    }
    return false;
}

static void remember(struct fg_modbus_matcher *matcher, const struct fg_modbus_sent *sent)
{
    struct fg_modbus_sent *latest = latest_of_unit(matcher, sent->unit);
    if (matcher->mode == FG_MODBUS_RTU && latest && latest->content == sent->content) {
        latest->request = sent->request;
        latest->again = true;
        latest->before_ns = latest->sent_ns;
        latest->sent_ns = sent->sent_ns;
        latest->times = latest->times < UINT16_MAX ? (uint16_t)(latest->times + 1) : UINT16_MAX;
    } else {
        matcher->sent[matcher->sent_count++] = *sent;
    }
    matcher->outstanding++;
}

int fg_modbus_matcher_send(struct fg_modbus_matcher *matcher, const struct fg_modbus_request *request,
                           int64_t now_ns, uint8_t adu[FG_MODBUS_ADU_MAX], size_t *size)
{
    size_t most = matcher->mode == FG_MODBUS_RTU ? 1 : FG_MODBUS_PIPELINE_MAX;
    bool held = matcher->mode == FG_MODBUS_RTU && fg_modbus_matcher_holds(matcher);
    if (!fg_modbus_request_valid(request, matcher->mode)) {
        return -EINVAL;
    }
    if (held || matcher->outstanding == most) {
        return -EBUSY;
    }
    bool answered = fg_modbus_request_answered(request, matcher->mode);
    if (answered && !make_room(matcher)) {
        return -EAGAIN;
    }
    uint16_t transaction = next_transaction(matcher->transaction);
    size_t encoded = fg_modbus_request_encode(request, matcher->mode, transaction, adu);
    matcher->transaction = transaction;
    if (matcher->mode == FG_MODBUS_RTU) {
        memcpy(matcher->adu, adu, encoded);
        matcher->adu_size = encoded;
        matcher->echo_may_come = true;
        matcher->clean = true;
    }
    if (answered) {
        struct fg_modbus_sent sent;
        fg_modbus_sent_from(&sent, request);
        sent.sent_ns = now_ns;
        sent.transaction = transaction;
        sent.content = fg_modbus_hash(FG_MODBUS_HASH_START, adu, encoded);
        remember(matcher, &sent);
    }
    *size = encoded;
    return 0;
}

void fg_modbus_matcher_give_up(struct fg_modbus_matcher *matcher, const struct fg_modbus_request *request)
{
    for (size_t i = 0; i < matcher->sent_count; i++) {
        if (request && matcher->sent[i].request == request) {
            given_up(matcher, &matcher->sent[i]);
            return;
        }
    }
}

void fg_modbus_matcher_settle(struct fg_modbus_matcher *matcher, uint8_t unit, int64_t before_ns)
{
    for (size_t i = matcher->sent_count; i > 0; i--) {
        struct fg_modbus_sent *sent = &matcher->sent[i - 1];
        if (sent->unit != unit) {
            continue;
        }
        if (!sent->request && sent->sent_ns < before_ns) {
            fg_modbus_matcher_forget(matcher, i - 1);
        } else if (sent->times > 1 && sent->before_ns < before_ns) {
            sent->times = 1;
        }
    }
}

int64_t fg_modbus_matcher_doubt_ns(const struct fg_modbus_matcher *matcher,
                                   const struct fg_modbus_request *request)
{
    int64_t doubt_ns = INT64_MIN;
    if (matcher->mode == FG_MODBUS_TCP || matcher->sent_count == 0) {
        return doubt_ns;
    }
    uint8_t adu[FG_MODBUS_ADU_MAX];
    size_t size = fg_modbus_request_encode(request, FG_MODBUS_RTU, 0, adu);
    uint64_t content = fg_modbus_hash(FG_MODBUS_HASH_START, adu, size);
    for (size_t i = 0; i < matcher->sent_count; i++) {
        const struct fg_modbus_sent *sent = &matcher->sent[i];
        if (sent->unit == request->unit && sent->function == request->function && sent->content != content &&
            sent->sent_ns > doubt_ns) {
            doubt_ns = sent->sent_ns;
        }
    }
    return doubt_ns;
}

bool fg_modbus_matcher_doubts(struct fg_modbus_matcher *matcher)
{
    const struct fg_modbus_sent *current = matcher->mode == FG_MODBUS_RTU ? outstanding(matcher) : NULL;
    return current && current->doubt != 0;
}

bool fg_modbus_matcher_safe(const struct fg_modbus_matcher *matcher, const struct fg_modbus_request *request)
{
    return fg_modbus_matcher_doubt_ns(matcher, request) == INT64_MIN;
}

/* ---- what came ---- */

enum fg_modbus_event fg_modbus_matcher_reject(struct fg_modbus_matcher *matcher, size_t count,
                                              enum fg_reason why, enum fg_reason *reason)
{
    matcher->used = count;
    matcher->clean = false;
    *reason = why;
    return FG_MODBUS_REJECT;
}

enum fg_modbus_event fg_modbus_matcher_give(struct fg_modbus_matcher *matcher,
                                            const struct fg_modbus_frame *frame,
                                            const struct fg_modbus_request *request,
                                            struct fg_modbus_answer *answer)
{
    bool exception = frame->pdu[0] & FG_MODBUS_EXCEPTION_BIT;
    bool data = !exception && request->read.count > 0;
    *answer = (struct fg_modbus_answer){
        .request = request,
        .exception = exception ? frame->pdu[1] : 0,
        .data = data ? frame->pdu + 2 : NULL,
        .size = data ? frame->pdu_size - 2 : 0,
    };
    matcher->used = frame->size;
    return FG_MODBUS_ANSWER;
}

/* The frame is the answer to sent[index] or to a later one of the unit: to none before it will one come. */
static void pass(struct fg_modbus_matcher *matcher, size_t index)
{
    uint8_t unit = matcher->sent[index].unit;
    struct fg_modbus_sent *sent = &matcher->sent[index];
    if (sent->times > 1) {
        sent->times--;
    } else if (!sent->request) {
        fg_modbus_matcher_forget(matcher, index);
    }
    for (size_t i = index; i > 0; i--) {
        if (matcher->sent[i - 1].unit == unit) {
            fg_modbus_matcher_forget(matcher, i - 1);
        }
    }
}

/* What can have been answered by a frame. */
struct candidates {
    bool any;
    size_t first; /* the oldest */
    bool current; /* what is outstanding is one of them */
    bool same;    /* all of them are one and the same request */
};

static struct candidates candidates_for(const struct fg_modbus_matcher *matcher,
                                        const struct fg_modbus_frame *frame)
{
    struct candidates found = { .same = true };
    for (size_t i = 0; i < matcher->sent_count; i++) {
        const struct fg_modbus_sent *sent = &matcher->sent[i];
        if (fg_modbus_answer_check(sent, frame->unit, frame->pdu, frame->pdu_size) != FG_REASON_NONE) {
            continue;
        }
        if (!found.any) {
            found.first = i;
        }
        found.any = true;
        found.current |= sent->request != NULL;
        found.same &= sent->content == matcher->sent[found.first].content;
    }
    return found;
}

/* Whether such a frame was given to another request, and to this one was not. */
static bool seen_for_another(const struct fg_modbus_matcher *matcher, uint64_t content, uint64_t frame)
{
    bool another = false;
    for (size_t i = 0; i < FG_MODBUS_SEEN_MAX; i++) {
        if (matcher->seen[i].frame == frame && matcher->seen[i].content == content) {
            return false;
        }
        another |= matcher->seen[i].frame == frame;
    }
    return another;
}

static bool may_be_duplicate(const struct fg_modbus_matcher *matcher, const struct fg_modbus_sent *current,
                             const struct fg_modbus_frame *frame, uint64_t hash)
{
    /* Exceptions are alike anyway, but rare. */
    bool exception = frame->pdu[0] & FG_MODBUS_EXCEPTION_BIT;
    bool wary = matcher->duplicates || exception || matcher->repeats < FG_MODBUS_REPEATS_ENOUGH;
    bool asked_again = hash == current->doubt && current->again;
    return wary && current->read.count > 0 && current->write.count == 0 && !asked_again &&
           seen_for_another(matcher, current->content, hash);
}

/* What came after a doubt says whether it was right. */
static void note_repeat(struct fg_modbus_matcher *matcher, struct fg_modbus_sent *current, uint64_t frame,
                        bool exception)
{
    if (current->doubt == 0) {
        return;
    }
    if (frame != current->doubt) {
        matcher->duplicates = true;
        return;
    }
    if (current->times > 1) { /* what was dropped was the answer to a sending of it: that is answered too */
        current->times--;
    }
    if (!exception && matcher->repeats < FG_MODBUS_REPEATS_ENOUGH) {
        matcher->repeats++;
    }
}

/* An answer has come that is taken. */
static enum fg_modbus_event take(struct fg_modbus_matcher *matcher, struct fg_modbus_sent *current,
                                 const struct fg_modbus_frame *frame, size_t first, uint64_t hash,
                                 struct fg_modbus_answer *answer)
{
    const struct fg_modbus_request *request = current->request;
    note_repeat(matcher, current, hash, frame->pdu[0] & FG_MODBUS_EXCEPTION_BIT);
    matcher->seen[matcher->seen_next].content = current->content;
    matcher->seen[matcher->seen_next].frame = hash;
    matcher->seen_next = (matcher->seen_next + 1) % FG_MODBUS_SEEN_MAX;
    if (matcher->clean) { /* an echo may be lost once; twice in a row there is none */
        matcher->echo = matcher->echo == FG_MODBUS_ECHO_YES ? FG_MODBUS_ECHO_UNKNOWN : FG_MODBUS_ECHO_NO;
    }
    matcher->echo_may_come = false;
    current->doubt = 0;
    given_up(matcher, current); /* of several sendings of it, the others may be answered later */
    pass(matcher, first);
    return fg_modbus_matcher_give(matcher, frame, request, answer);
}

static enum fg_modbus_event judge_rtu(struct fg_modbus_matcher *matcher, const struct fg_modbus_frame *frame,
                                      struct fg_modbus_answer *answer, enum fg_reason *reason)
{
    struct fg_modbus_sent *current = outstanding(matcher);
    struct candidates found = candidates_for(matcher, frame);
    uint64_t hash = fg_modbus_hash(FG_MODBUS_HASH_START, matcher->bytes, frame->size);
    bool again = seen_for_another(matcher, 0, hash);
    if (!found.any) {
        enum fg_reason why = FG_REASON_UNSOLICITED;
        if (current) {
            why = fg_modbus_answer_check(current, frame->unit, frame->pdu, frame->pdu_size);
        }
        matcher->duplicates |= again;
        return fg_modbus_matcher_reject(matcher, frame->size, again ? FG_REASON_DUPLICATE : why, reason);
    }
    if (!current || !found.current || !found.same) {
        pass(matcher, found.first);
        return fg_modbus_matcher_reject(matcher, frame->size, FG_REASON_LATE, reason);
    }
    if (may_be_duplicate(matcher, current, frame, hash)) {
        current->doubt = hash;
        current->again = false;
        return fg_modbus_matcher_reject(matcher, frame->size, FG_REASON_DUPLICATE, reason);
    }
    return take(matcher, current, frame, found.first, hash, answer);
}

/* ---- RTU: frames among the bytes ---- */

/* Whether size bytes at bytes are the request that was sent last, or the begin of it. */
static bool like_request(const struct fg_modbus_matcher *matcher, const uint8_t *bytes, size_t size)
{
    size_t count = size < matcher->adu_size ? size : matcher->adu_size;
    return matcher->echo_may_come && memcmp(bytes, matcher->adu, count) == 0;
}

/* Size of the answer that begins here and is whole and sound, else 0. */
static size_t sound_answer(const uint8_t *bytes, size_t size)
{
    size_t whole = fg_modbus_rtu_size(bytes, size);
    return whole > 0 && whole <= size && fg_modbus_rtu_sound(bytes, whole) ? whole : 0;
}

static struct fg_modbus_frame rtu_frame(const struct fg_modbus_matcher *matcher, size_t size)
{
    return (struct fg_modbus_frame){
        .size = size, .unit = matcher->bytes[0], .pdu = matcher->bytes + 1, .pdu_size = size - 3
    };
}

/* Whether the bytes at the begin, which are the request as it was sent, are its echo and not its answer. */
static bool is_echo(struct fg_modbus_matcher *matcher)
{
    struct fg_modbus_frame frame = rtu_frame(matcher, matcher->adu_size);
    bool answers = sound_answer(matcher->bytes, matcher->size) == matcher->adu_size &&
                   candidates_for(matcher, &frame).any;
    if (!answers) {
        matcher->echo = FG_MODBUS_ECHO_YES;
    }
    return !answers || matcher->echo != FG_MODBUS_ECHO_NO;
}

/* Why bytes that are no frame are dropped. */
static enum fg_reason why_no_frame(struct fg_modbus_matcher *matcher, size_t size)
{
    const uint8_t *bytes = matcher->bytes;
    const struct fg_modbus_sent *current = outstanding(matcher);
    size_t whole = fg_modbus_rtu_size(bytes, size);
    if (whole == size) {
        return FG_REASON_CHECKSUM;
    }
    if (!current || size < 2 || bytes[0] != current->unit ||
        (bytes[1] & ~FG_MODBUS_EXCEPTION_BIT) != current->function) {
        return FG_REASON_NOISE;
    }
    return whole == 0 || whole > size ? FG_REASON_INCOMPLETE : FG_REASON_CHECKSUM;
}

static bool unit_was_asked(const struct fg_modbus_matcher *matcher, uint8_t unit)
{
    for (size_t i = 0; i < matcher->sent_count; i++) {
        if (matcher->sent[i].unit == unit) {
            return true;
        }
    }
    return false;
}

/* No frame stands at the begin: drops what stands before the next. */
static enum fg_modbus_event search_rtu(struct fg_modbus_matcher *matcher, bool silent, enum fg_reason *reason)
{
    size_t skip = 1;
    for (; skip + RTU_ANSWER_MIN <= matcher->size; skip++) {
        const uint8_t *at = matcher->bytes + skip;
        size_t left = matcher->size - skip;
        if ((left >= matcher->adu_size && like_request(matcher, at, left)) ||
            (unit_was_asked(matcher, at[0]) && sound_answer(at, left) > 0)) {
            return fg_modbus_matcher_reject(matcher, skip, why_no_frame(matcher, skip), reason);
        }
    }
    /* Without silence the begin of a frame may stand at the end. */
    skip = silent ? matcher->size : matcher->size - FG_MODBUS_ADU_MAX;
    return fg_modbus_matcher_reject(matcher, skip, why_no_frame(matcher, skip), reason);
}

static enum fg_modbus_event step_rtu(struct fg_modbus_matcher *matcher, bool silent,
                                     struct fg_modbus_answer *answer, enum fg_reason *reason)
{
    if (like_request(matcher, matcher->bytes, matcher->size)) {
        if (matcher->size < matcher->adu_size && !silent && matcher->echo != FG_MODBUS_ECHO_NO) {
            return FG_MODBUS_MORE;
        }
        if (matcher->size >= matcher->adu_size && is_echo(matcher)) {
            matcher->echo_may_come = false;
            return fg_modbus_matcher_reject(matcher, matcher->adu_size, FG_REASON_ECHO, reason);
        }
    }
    size_t whole = sound_answer(matcher->bytes, matcher->size);
    if (whole == 0 && silent && fg_modbus_rtu_sound(matcher->bytes, matcher->size)) {
        whole = matcher->size; /* of a length that belongs to no answer */
    }
    if (whole > 0) {
        struct fg_modbus_frame frame = rtu_frame(matcher, whole);
        return judge_rtu(matcher, &frame, answer, reason);
    }
    if (!silent && matcher->size < sizeof matcher->bytes) {
        return FG_MODBUS_MORE;
    }
    return search_rtu(matcher, silent, reason);
}

/* ---- both ---- */

static enum fg_modbus_event step(struct fg_modbus_matcher *matcher, bool silent,
                                 struct fg_modbus_answer *answer, enum fg_reason *reason)
{
    if (matcher->size == 0) {
        return FG_MODBUS_MORE;
    }
    return matcher->mode == FG_MODBUS_RTU ? step_rtu(matcher, silent, answer, reason)
                                          : fg_modbus_matcher_step_tcp(matcher, silent, answer, reason);
}

/* What the last call returned is not needed any more. */
static void drop_used(struct fg_modbus_matcher *matcher)
{
    if (matcher->used > 0) {
        matcher->size -= matcher->used;
        memmove(matcher->bytes, matcher->bytes + matcher->used, matcher->size);
        matcher->used = 0;
    }
}

enum fg_modbus_event fg_modbus_matcher_feed(struct fg_modbus_matcher *matcher, const uint8_t **bytes,
                                            size_t *size, struct fg_modbus_answer *answer,
                                            enum fg_reason *reason)
{
    do {
        drop_used(matcher);
        size_t room = sizeof matcher->bytes - matcher->size;
        size_t count = *size < room ? *size : room;
        if (count > 0) {
            memcpy(matcher->bytes + matcher->size, *bytes, count);
            matcher->size += count;
            *bytes += count;
            *size -= count;
        }
        enum fg_modbus_event event = step(matcher, false, answer, reason);
        if (event != FG_MODBUS_MORE) {
            return event;
        }
    } while (*size > 0);
    return FG_MODBUS_MORE;
}

enum fg_modbus_event fg_modbus_matcher_silence(struct fg_modbus_matcher *matcher,
                                               struct fg_modbus_answer *answer, enum fg_reason *reason)
{
    drop_used(matcher);
    return step(matcher, true, answer, reason);
}
