-- Purpose: setup/join-client, then one line with the most memory that the process itself had resident, in KiB.
-- (What /usr/bin/time or wait4 say counts the children in: that would be apt's memory.)

local book = dofile(os.getenv "MOONBOOK_BENCH_RUNBOOK")

return {
  about = book.about,
  params = book.params,
  run = function(p)
    book.run(p)
    print("peak " .. io.open("/proc/self/status"):read "a":match "VmHWM:%s*(%d+)")
  end,
}
