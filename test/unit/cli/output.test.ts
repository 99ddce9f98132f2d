import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { formatFields, formatInstant, formatTable, openOutput, printable } from '../../../cli/output.js'

function sink(): { stream: Writable; text: () => string } {
  let written = ''
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      written += chunk.toString()
      done()
    },
  })
  return { stream, text: () => written }
}

describe('the output', () => {
  it('keeps data on stdout and talk on stderr', () => {
    const stdout = sink()
    const stderr = sink()
    const out = openOutput(stdout.stream, stderr.stream)
    out.line('data')
    out.json({ a: 1 })
    out.say('talk')
    expect(stdout.text()).toBe('data\n{"a":1}\n')
    expect(stderr.text()).toBe('talk\n')
  })

  it('goes quiet when its reader has gone', async () => {
    const stdout = sink()
    const out = openOutput(stdout.stream, sink().stream)
    const gone = new Promise((resolve) => out.closed.addEventListener('abort', resolve))
    stdout.stream.destroy(Object.assign(new Error('broken pipe'), { code: 'EPIPE' }))
    await gone
    out.line('nobody reads this')
    expect(stdout.text()).toBe('')
  })

  it('aligns the columns of a table', () => {
    expect(
      formatTable(
        ['NAME', 'STATE'],
        [
          ['planner', 'enrolled'],
          ['t', '-'],
        ],
      ),
    ).toEqual(['NAME     STATE', 'planner  enrolled', 't        -'])
  })

  it('aligns names and values', () => {
    expect(
      formatFields([
        ['id', 'x'],
        ['serial', 'y'],
      ]),
    ).toEqual(['id      x', 'serial  y'])
  })

  it('never passes on what a terminal would obey', () => {
    expect(printable('GET /\u001b[2J\u202e\u0007\u009b')).toBe('GET /?[2J???')
  })

  it('writes instants as RFC 3339 in UTC', () => {
    expect(formatInstant(1_763_800_000_999)).toBe('2025-11-22T08:26:40Z')
  })
})
