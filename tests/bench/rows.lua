-- Purpose: input of a session that shows a table of 10,000 rows, as Consul's nodes are, twice: the second is measured.
print [[t = {} for i = 1, 10000 do t[i] = { ID = ("%032x"):format(i), Node = "node-" .. i, Address = "10.0.0." .. i % 250,
  Datacenter = "dc1", Meta = { os = "linux" }, Tags = { "a", "b" }, CreateIndex = i, ModifyIndex = 2 * i } end]]
print ":time t"
print ":time t"
