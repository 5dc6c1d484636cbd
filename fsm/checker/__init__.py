"""Proves the tables and the delivery protocol by exploring every state they can reach.

* `verify` is the way in: one `report` over everything below.
* `tables` looks at one table, `joint` and `joint_search` at all three together.
* `protocol` explores deliveries of messages by workers: a `scenario` is a `world` of `scene` states in which `turn`
  lists what can happen to a message, `stepper` asks `fsm.delivery.advance`, `judge` holds the promises against every
  effect, `search` goes everywhere, and `words` tells the way.
* `mutants` and `sabotage` check the checker: whatever is wrong on purpose must be noticed.
"""
