#include "fieldgate/event_model.h"

#include "models.h"

const struct fg_model_ops *const fg_models[] = {
    &fg_model_reactor,
    &fg_model_simulated_proactor,
#ifdef FG_HAVE_IO_URING
    &fg_model_proactor,
#endif
    NULL,
};

int fg_channel_new(struct fg_model *model, int fd, enum fg_channel_flags flags, void *owner,
                   struct fg_channel **channel)
{
    return model->ops->channel_new(model, fd, flags, owner, channel);
}

void *fg_channel_owner(const struct fg_channel *channel)
{
    return channel->owner;
}

struct fg_strand *fg_channel_strand(struct fg_channel *channel)
{
    return &channel->strand;
}

int fg_channel_fd(const struct fg_channel *channel)
{
    return channel->fd;
}

int fg_channel_submit(struct fg_channel *channel, struct fg_op *op)
{
    return channel->model->ops->submit(channel, op);
}

void fg_channel_cancel(struct fg_channel *channel, struct fg_op *op)
{
    channel->model->ops->cancel(channel, op);
}

void fg_channel_close(struct fg_channel *channel, void (*closed)(void *owner))
{
    channel->model->ops->channel_close(channel, closed);
}
