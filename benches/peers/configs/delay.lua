-- HAProxy has no delay of its own; this is how its users make one.
core.register_action("delay", { "http-req" }, function(txn)
  core.msleep(10)
end)
