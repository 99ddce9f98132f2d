// Metrics of one identity's calls and state. Labels are from small fixed sets: never an identity, a path or an address.

import type { Counter, Histogram, Metrics } from '../host/metrics.js'
import { registerIdentityGauges } from '../member/identity/health.js'
import type { CallCounter } from './call/outcome.js'
import type { Parts } from './parts.js'

/** Counts ended calls; series appear when they are first met. */
export function openCallCounter(metrics: Metrics): CallCounter {
  const totals = new Map<string, Counter>()
  const durations: Record<'egress' | 'ingress', Histogram> = {
    egress: metrics.histogram('troth_call_duration_seconds', 'Duration of calls', { direction: 'egress' }),
    ingress: metrics.histogram('troth_call_duration_seconds', 'Duration of calls', { direction: 'ingress' }),
  }
  return (direction, { decision, outcome, seconds }) => {
    const key = `${direction} ${decision} ${outcome}`
    let total = totals.get(key)
    if (total === undefined) {
      total = metrics.counter('troth_calls_total', 'Calls that ended', { direction, decision, outcome })
      totals.set(key, total)
    }
    total.add(1)
    durations[direction].observe(seconds)
  }
}

/** Gauges that read the state of the identity at each scrape. */
export function registerGauges(metrics: Metrics, parts: Parts): void {
  const { connections, credentials, world, inFlight } = parts
  for (const direction of ['egress', 'ingress'] as const)
    metrics.gauge('troth_connections', 'Admitted connections', () => connections.count(direction), {
      direction,
    })
  metrics.gauge('troth_calls_running', 'Calls that run now', () => inFlight.count)
  registerIdentityGauges(metrics, credentials, parts.clock)
  metrics.gauge('troth_feed_stale', '1 while the view of the mesh is older than feed.maxStaleness', () =>
    world.isStale() ? 1 : 0,
  )
  metrics.gauge('troth_self_revoked', '1 when this identity was revoked', () => (world.selfRevoked ? 1 : 0))
  metrics.gauge('troth_policy_version', 'Version of the policy in force', () => world.current().policyVersion)
}
