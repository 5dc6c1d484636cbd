"""Before there is a VM: what sizes cost, how often they are evicted, which there are, and how many may run.

Prices come from the Retail Prices API, which answers anybody; price history, eviction rates, sizes and quota from Azure
Resource Manager, which wants a credential. There is no port for prices in the core: the simulator's market is a price
over time for a whole world and knows neither sizes nor regions, so that a contract between the two would be empty.
What is found is handed out as values.
"""
