/* Answers among the bytes of a Modbus TCP connection. Messaging on TCP/IP 3.1.3. */
#include "modbus_matcher.h"

#include <string.h>

static size_t index_of_transaction(const struct fg_modbus_matcher *matcher, uint16_t transaction)
{
    size_t i = 0;
    while (i < matcher->sent_count && matcher->sent[i].transaction != transaction) {
        i++;
    }
    return i;
}

static enum fg_modbus_event judge_tcp(struct fg_modbus_matcher *matcher, const struct fg_modbus_frame *frame,
                                      struct fg_modbus_answer *answer, enum fg_reason *reason)
{
    uint16_t transaction = fg_modbus_get16(matcher->bytes);
    size_t index = index_of_transaction(matcher, transaction);
    if (index == matcher->sent_count) {
        bool again = transaction == matcher->answered;
        return fg_modbus_matcher_reject(matcher, frame->size,
                                        again ? FG_REASON_DUPLICATE : FG_REASON_WRONG_TRANSACTION, reason);
    }
    const struct fg_modbus_sent *sent = &matcher->sent[index];
    enum fg_reason why = fg_modbus_answer_check(sent, frame->unit, frame->pdu, frame->pdu_size);
    if (why != FG_REASON_NONE) {
        return fg_modbus_matcher_reject(matcher, frame->size, why, reason);
    }
    const struct fg_modbus_request *request = sent->request;
    fg_modbus_matcher_forget(matcher, index);
    if (!request) {
        return fg_modbus_matcher_reject(matcher, frame->size, FG_REASON_LATE, reason);
    }
    matcher->outstanding--;
    matcher->answered = transaction;
    return fg_modbus_matcher_give(matcher, frame, request, answer);
}

/* What a header says of its frame's size; 0 when it cannot be one. */
static size_t tcp_size(const uint8_t *header)
{
    size_t counted = fg_modbus_get16(header + 4);
    if (fg_modbus_get16(header + 2) != 0 || counted < 2 || counted > FG_MODBUS_PDU_MAX + 1) {
        return 0;
    }
    return counted + FG_MODBUS_MBAP_COUNTED;
}

/* Whether an answer to something outstanding begins here, as far as the bytes go. */
static bool tcp_answer_begins(const struct fg_modbus_matcher *matcher, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < matcher->sent_count; i++) {
        const struct fg_modbus_sent *sent = &matcher->sent[i];
        const uint8_t begin[] = { (uint8_t)(sent->transaction >> 8), (uint8_t)sent->transaction, 0, 0 };
        if (!sent->request || memcmp(bytes, begin, size < sizeof begin ? size : sizeof begin) != 0) {
            continue;
        }
        if (size < FG_MODBUS_MBAP_BYTES + 1 || (tcp_size(bytes) > 0 && bytes[6] == sent->unit &&
                                                (bytes[7] & ~FG_MODBUS_EXCEPTION_BIT) == sent->function)) {
            return true;
        }
    }
    return false;
}

/* No frame stands at the begin: drops what stands before the next answer. */
static enum fg_modbus_event search_tcp(struct fg_modbus_matcher *matcher, enum fg_reason why,
                                       enum fg_reason *reason)
{
    size_t skip = 1;
    while (skip < matcher->size && !tcp_answer_begins(matcher, matcher->bytes + skip, matcher->size - skip)) {
        skip++;
    }
    return fg_modbus_matcher_reject(matcher, skip, why, reason);
}

enum fg_modbus_event fg_modbus_matcher_step_tcp(struct fg_modbus_matcher *matcher, bool silent,
                                                struct fg_modbus_answer *answer, enum fg_reason *reason)
{
    const uint8_t *bytes = matcher->bytes;
    size_t held = matcher->size;
    size_t whole = held >= FG_MODBUS_MBAP_BYTES ? tcp_size(bytes) : 0;
    if (whole == 0 && held >= FG_MODBUS_MBAP_BYTES) {
        bool protocol = fg_modbus_get16(bytes + 2) == 0;
        return search_tcp(matcher, protocol ? FG_REASON_BAD_LENGTH : FG_REASON_NOISE, reason);
    }
    if (whole > 0 && whole <= held) {
        struct fg_modbus_frame frame = { .size = whole,
                                         .unit = bytes[6],
                                         .pdu = bytes + FG_MODBUS_MBAP_BYTES,
                                         .pdu_size = whole - FG_MODBUS_MBAP_BYTES };
        return judge_tcp(matcher, &frame, answer, reason);
    }
    return silent ? search_tcp(matcher, FG_REASON_INCOMPLETE, reason) : FG_MODBUS_MORE;
}
