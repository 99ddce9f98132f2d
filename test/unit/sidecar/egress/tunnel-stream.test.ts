import { describe, expect, it } from 'vitest'
import { systemClock } from '../../../../host/clock.js'
import { openSweep } from '../../../../host/sweep.js'
import { TunnelStream, type TunnelWire } from '../../../../sidecar/egress/tunnel-stream.js'
import type { ResponseHead } from '../../../../sidecar/http/message.js'
import type { ResponseSink } from '../../../../sidecar/http/stream.js'

const HEAD = { method: 'CONNECT', scheme: '', authority: 'a:1', path: '', protocol: null, fields: [] }
const NOTHING = Buffer.alloc(0)

/** What is said of one tunnel, in order; the wire takes a write when the test says so. */
function open(follows: 'more' | 'nothing' = 'more') {
  const said: string[] = []
  const say =
    (what: string) =>
    (bytes?: unknown): void => {
      const size = typeof bytes === 'string' || Buffer.isBuffer(bytes) ? ` ${bytes.length}` : ''
      said.push(`${what}${size}`)
    }
  const wire: TunnelWire = {
    attach: say('reads'),
    write: say('writes'),
    writeText: (text) => {
      say('writes')(text)
      return false
    },
    schedule: () => undefined,
    pause: say('pauses'),
    resume: say('resumes'),
    shut: say('half-closes'),
    close: say('closes'),
    leave: say('closes'),
    destroy: say('destroys'),
  }
  const sink: ResponseSink = {
    onInterim: say('interim'),
    onHead: ({ status }: ResponseHead) => say(`answers ${status}`)(),
    onData: say('hears'),
    onTrailers: say('trailers'),
    onEnd: say('hears the end'),
    onReset: ({ code }) => say(`hears ${code}`)(),
    onDrain: say('may go on'),
  }
  const tunnel = new TunnelStream(wire, openSweep(systemClock))
  tunnel.open(HEAD, follows, sink)
  tunnel.begin()
  return { tunnel, said }
}

describe('the far end of a tunnel', () => {
  it('answers 200 before it reads', () => {
    expect(open().said).toEqual(['answers 200', 'reads'])
  })

  it('is not read from while the near end takes nothing', () => {
    const { tunnel, said } = open()
    for (let at = 0; at < 5; at += 1) tunnel.feed(Buffer.alloc(64 * 1024))
    tunnel.consume(128 * 1024)
    expect(said.slice(2)).toEqual([...Array<string>(5).fill('hears 65536'), 'pauses', 'resumes'])
  })

  it('holds the near end back while the host reads nothing', () => {
    const { tunnel, said } = open()
    expect(tunnel.write(Buffer.alloc(60_000))).toBe(true)
    tunnel.flush()
    expect(tunnel.write(Buffer.alloc(60_000))).toBe(false)
    tunnel.written()
    tunnel.written()
    expect(said.slice(2)).toEqual(['writes 60000', 'writes 60000', 'may go on'])
  })

  it('half-closes behind what was written, and closes when both sides have ended', () => {
    const { tunnel, said } = open()
    tunnel.write(Buffer.from('abc'))
    tunnel.end(NOTHING)
    tunnel.written()
    tunnel.feed(Buffer.from('more'))
    tunnel.ended()
    expect(said.slice(2)).toEqual(['writes 3', 'half-closes', 'hears 4', 'hears the end', 'closes'])
    tunnel.lost()
    expect(said.length).toBe(7)
  })

  it('half-closes at once for a client that had already ended', () => {
    expect(open('nothing').said).toEqual(['half-closes', 'answers 200', 'reads'])
  })

  it('tells that it was lost before both sides had ended', () => {
    const { tunnel, said } = open()
    tunnel.ended()
    tunnel.lost()
    expect(said.slice(2)).toEqual(['hears the end', 'hears HTTP1_CONNECTION_LOST'])
  })

  it('says nothing more when it was reset', () => {
    const { tunnel, said } = open()
    tunnel.reset()
    tunnel.feed(Buffer.from('late'))
    tunnel.lost()
    expect(said.slice(2)).toEqual(['destroys'])
  })
})
