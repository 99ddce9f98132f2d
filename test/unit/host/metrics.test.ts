import { describe, expect, it } from 'vitest'
import { openMetrics } from '../../../host/metrics.js'

describe('the exposition', () => {
  it('holds each family once, with its help, type and every series', () => {
    const metrics = openMetrics()
    metrics.counter('calls_total', 'Calls.', { verdict: 'permit' }).add(2)
    metrics.counter('calls_total', 'Calls.', { verdict: 'deny' }).add(1)
    let depth = 1
    metrics.gauge('depth', 'Rows to ship.', () => depth)
    depth = 5
    expect(metrics.text()).toBe(
      [
        '# HELP calls_total Calls.',
        '# TYPE calls_total counter',
        'calls_total{verdict="permit"} 2',
        'calls_total{verdict="deny"} 1',
        '# HELP depth Rows to ship.',
        '# TYPE depth gauge',
        'depth 5',
        '',
      ].join('\n'),
    )
  })

  it('counts a value in its bucket and all above', () => {
    const metrics = openMetrics()
    const histogram = metrics.histogram('seconds', 'Durations.', { way: 'in' })
    for (const value of [0.001, 0.3, 60]) histogram.observe(value)
    const lines = metrics.text().split('\n')
    expect(lines).toContain('seconds_bucket{way="in",le="0.001"} 1')
    expect(lines).toContain('seconds_bucket{way="in",le="0.25"} 1')
    expect(lines).toContain('seconds_bucket{way="in",le="0.5"} 2')
    expect(lines).toContain('seconds_bucket{way="in",le="10"} 2')
    expect(lines).toContain('seconds_bucket{way="in",le="+Inf"} 3')
    expect(lines).toContain('seconds_sum{way="in"} 60.301')
    expect(lines).toContain('seconds_count{way="in"} 3')
  })

  it('escapes label values', () => {
    const metrics = openMetrics()
    metrics.counter('c', 'C.', { x: 'a"b\\c\nd' }).add(1)
    expect(metrics.text()).toContain('c{x="a\\"b\\\\c\\nd"} 1')
  })

  it('is empty before anything was registered', () => {
    expect(openMetrics().text()).toBe('')
  })
})
