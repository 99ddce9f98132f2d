import { describe, expect, it } from 'vitest'
import { formatDuration, parseDuration } from '../../../mesh/duration.js'
import type { MeshError } from '../../../mesh/errors.js'

describe('a duration', () => {
  it.each([
    ['0s', 0],
    ['250ms', 250],
    ['90s', 90_000],
    ['15m', 900_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })

  it.each(['', '5', 's', '-5s', '1.5h', '5 s', '5S', '5w', '1h30m', '5s\n', '1e3s', '1234567890s'])(
    '%j is refused',
    (text) => {
      expect(() => parseDuration(text)).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID' }) as MeshError,
      )
    },
  )

  it.each([
    [0, '0ms'],
    [12.4, '12ms'],
    [999.6, '1s'],
    [40_000, '40s'],
    [3_661_000, '1h 1m'],
    [86_399_999, '23h 59m'],
    [183_600_000, '2d 3h'],
    [86_405_000, '1d 5s'],
  ])('%d ms reads %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })
})
