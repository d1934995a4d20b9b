"""`make eval`: how often drift alerts alarm without drift, how soon with it: ours, named peers and a dummy, same streams."""
