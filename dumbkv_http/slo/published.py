"""The alerts of the published document, word for word; docs/SLO.md is the whole of it.

They are kept so that anyone can see what they do beside the corrected ones. No configuration that
is generated here loads them.
"""

__all__ = ["ALERTS"]

ALERTS = """\
- alert: HighErrorBudgetBurn
  expr: |
    (sum(rate(http_requests_total{status=~"5.."}[1h])) /
    (sum(rate(http_requests_total[1h])) * 0.001)) > 0.02
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: "Burning 2% of monthly error budget per hour"

- alert: CriticalLatencySLO
  expr: |
    histogram_quantile(0.99, rate(http_request_duration_seconds_bucket[5m])) > 0.1
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: "P99 latency exceeding 100ms SLO"
"""
