// Durations as people write them: 90s, 15m, 24h, 7d.

import { MeshError } from './errors.js'

const UNITS_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/**
 * @returns milliseconds
 * @throws MeshError CONFIG_INVALID
 */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text)
  const unit = UNITS_MS[match?.[2] ?? '']
  if (match === null || unit === undefined) {
    throw new MeshError('CONFIG_INVALID', `${JSON.stringify(text.slice(0, 40))} is not a duration`, {
      hint: 'write it like 90s, 15m, 24h or 7d',
    })
  }
  return Number(match[1]) * unit
}

/** The two largest units, e.g. `2d 3h`, `23h 59m`, `40s`, `12ms`. */
export function formatDuration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)}ms`
  const parts: string[] = []
  let rest = Math.max(Math.floor(ms / 1000), 1) * 1000
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = UNITS_MS[unit] ?? 1
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count > 0) parts.push(`${count}${unit}`)
  }
  return parts.slice(0, 2).join(' ')
}
