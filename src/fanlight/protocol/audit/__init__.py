"""The audit: what both servers' logs prove, without asking either of them.

::

    findings     what can be wrong, what that proves, and what to do
    chain        the chain of hashes, followed beyond a break
    members      who was a member, from the root down
    words        the signed words, verified and decoded
    parts        what is said in a round, in which order, by whom
    sums         what was released: one sum, or one of each shard
    facts        one round as one log tells it
    source       where a log is read from
    one_log      a whole log, entry by entry
    receipts     what proves that a report was left out
    crossing     the same round in both logs
    both         the audit itself, round by round

Each log is checked by itself first: the chain, every signature from the root down, the order of the steps, the accepted
set against its Merkle root, the heads that its own signed words name. Then both are laid side by side: a signed word
must be the same in both. That suffices for the heads, too. A server that rewrites its log must sign its words anew,
since they name the head before them; the other server holds the old ones; and two different words of one server about
one thing are proof against it that anybody can check.

Memory does not grow with the logs: rounds are read side by side, and forgotten once they were compared.
"""
