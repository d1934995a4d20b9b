"""Pictures of the dashboards: some simulated days of flights, the bundled rules over them, Grafana's components in Chromium."""
