"""Proves the tables and the delivery protocol by exploring every state they can reach.

* `verify` is the way in: everything below, in parts that can be done side by side, each with its `report`.
* `tables` looks at one table, `joint` and `joint_search` at all three together.
* `protocol` explores deliveries of messages by workers: a `scenario` is a `world` of `scene` states in which `turn`
  lists what can happen to a message, `stepper` asks `fsm.delivery.advance`, `judge` holds the promises against every
  effect and `conduct` against every step, `search` goes everywhere, `circles` finds runs without an end, and `words`
  tells the way.
* `mutants`, `joint_mutants`, `protocol_mutants` and `sabotage` check the checker: whatever is wrong on purpose must be
  noticed. The protocol's mutants are `alterations` of the rows that `protocol_table` finds by watching it.
"""
