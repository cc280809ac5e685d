/* Planted bugs. The simulator switches them on, one at a time, to show that its checks would find them
 * (tests/README.md). The daemon never sets one: engine_config_default() has none. */
#ifndef UNIMESH_NODE_BUGS_H
#define UNIMESH_NODE_BUGS_H

#define BUG_LIST(X)                                                                                \
    X(ACK_BEFORE_DISK, 0, "a deploy is acknowledged before it is on disk")                         \
    X(KEEP_BEFORE_IMAGE, 1, "a peer says it keeps an image that it is still fetching")             \
    X(START_BEFORE_DISK, 2, "a guest starts before its claim is on disk")                          \
    X(ADMIT_WITHOUT_ROOM, 3, "a host admits what it has no memory for")                            \
    X(FREE_BEFORE_DEAD, 4, "memory is freed when a stop is asked for, not when the guest is gone") \
    X(NEVER_YIELD, 5, "an overtaken owner goes on")                                                \
    X(REOFFER_SAME_EPOCH, 6, "an unanswered offer goes to another host at the same epoch")         \
    X(MINORITY_CLAIMS, 7, "a minority makes real claims")                                          \
    X(NO_ANTI_ENTROPY, 8, "replicas never compare their records")                                  \
    X(REFUTE_SAME_INCARNATION, 9, "a refutation does not raise the incarnation")                   \
    X(IGNORE_DELETED, 10, "a deleted app's guests go on")                                          \
    X(MOVE_ON_JOIN, 11, "a better ranked host that joins is given the slot")                       \
    X(FORGET_BEFORE_DISK, 12, "an exit record is dropped before the end is on disk")               \
    X(ACCEPT_STALE_OFFER, 13, "a host takes an offer at an epoch that it knows to be taken")       \
    X(KEEP_LOST_NETWORK, 14, "what needs a network stays where that went")                         \
    X(KEEP_TAKEN_ADDRESS, 15, "of two guests with one address neither takes another")              \
    X(REOFFER_REFUSED, 16, "who refused is asked again before its record tells of the room it spoke of") \
    X(LEAVE_AT_ONCE, 17, "who leaves takes along what nobody else has")                            \
    X(KEEP_WINNER_ONLY, 18, "of a deploy that lost meanwhile, others are given the winner alone")        \
    X(LEAVE_VOLUME, 19, "what has a volume starts elsewhere when its host seems dead")              \
    X(KEEP_OLD_ACCESS, 20, "who allows an app isn't told where that is now")

enum bug {
#define X(name, bit, text) BUG_##name = 1u << (bit),
    BUG_LIST(X)
#undef X
};

#endif
