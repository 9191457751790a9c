#!/bin/sh
# No package starts its server while it is installed (invoke-rc.d(8)): the entry point does.
exit 101
