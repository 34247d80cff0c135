"""The service level objectives, and what follows from them: rules, alerts, dashboards, reports."""
