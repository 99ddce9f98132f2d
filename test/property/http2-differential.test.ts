// Our codec against node:http2 (nghttp2) as a judge, on random streams of bytes: what it refuses we refuse, and what we accept it reads the
// same way. Seeded, so that a failure can be repeated; SLOW=1 goes on for longer.

import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { FRAME } from '../../sidecar/http2/frames.js'
import { judgeByUs, NodeOracle, type Verdict } from '../support/http2-oracle.js'
import {
  block,
  continuation,
  data,
  END_HEADERS,
  END_STREAM,
  frame,
  GET,
  headers,
  PADDED,
  ping,
  priority,
  reset,
  settings,
  windowUpdate,
} from '../support/http2-raw.js'

const SEED = 20_260_822
const RUNS = process.env['SLOW'] === undefined ? 400 : 20_000

const oracle = new NodeOracle()
beforeAll(() => oracle.listen())
afterAll(() => oracle.close())

/** Everything that speaks against the two having understood the same. */
function differences(ours: Verdict, theirs: Verdict): string[] {
  const found: string[] = []
  // What ends a connection there may end its stream here: RFC 9113 leaves both open for frames behind the end of a message.
  if (theirs.error !== 0 && ours.error === 0 && ours.resets.size === 0)
    found.push(`node refuses the connection: ${theirs.error}`)
  for (const [id, message] of ours.messages) {
    const other = theirs.messages.get(id)
    if (ours.error !== 0 || ours.resets.has(id)) continue
    if (other === undefined || theirs.resets.has(id)) {
      if (theirs.error === 0) found.push(`node refuses stream ${id}`)
    } else if (!sameMessage(message, other))
      found.push(`stream ${id}: ${JSON.stringify(message)} is read as ${JSON.stringify(other)}`)
  }
  return found
}

/** A body that is not over may have been handed on less far. */
function sameMessage(
  ours: Verdict['messages'] extends Map<number, infer M> ? M : never,
  theirs: typeof ours,
): boolean {
  return (
    JSON.stringify(ours.head) === JSON.stringify(theirs.head) &&
    JSON.stringify(ours.trailers) === JSON.stringify(theirs.trailers) &&
    (ours.isWhole ? theirs.isWhole && ours.body === theirs.body : ours.body.startsWith(theirs.body))
  )
}

const hostileOctet = fc.constantFrom(...'\0\t\n\r "#%/:@[\\]^{}|\x01\x7f\x80\xffAZaz09-_.~'.split(''))
const someText = fc.oneof(
  fc.constantFrom('', '/', '*', 'a', 'trailers', 'gzip', 'GET', 'https', '4', '0', 'tools.mesh', 'close'),
  fc.array(hostileOctet, { maxLength: 4 }).map((octets) => octets.join('')),
  fc.string({ maxLength: 10 }).map((text) => Buffer.from(text, 'utf8').toString('latin1')),
)
const someName = fc.oneof(
  fc.constantFrom(
    ':method',
    ':path',
    ':scheme',
    ':authority',
    ':status',
    ':protocol',
    ':other',
    'host',
    'te',
    'cookie',
    'connection',
    'transfer-encoding',
    'keep-alive',
    'upgrade',
    'proxy-connection',
    'content-length',
    'x-a',
    'X-A',
  ),
  someText,
)
const someField = fc.tuple(someName, someText)

/** A good head to which up to three things were done. */
const someHead = fc
  .array(
    fc.oneof(
      fc.record({ insert: someField, at: fc.nat(5) }),
      fc.record({ drop: fc.nat(4) }),
      fc.record({ set: fc.nat(3), value: someText }),
      fc.record({ again: fc.nat(3) }),
    ),
    { maxLength: 3 },
  )
  .map((changes) => {
    const fields: (readonly [string, string])[] = [...GET, ['x-a', 'b']]
    for (const change of changes) {
      if ('insert' in change) fields.splice(change.at, 0, change.insert)
      else if ('drop' in change) fields.splice(change.drop, 1)
      else if ('set' in change) fields[change.set] = [fields[change.set]?.[0] ?? '', change.value]
      else fields.push(fields[change.again] ?? ['', ''])
    }
    return fields
  })

it('understands heads as node:http2 does, or refuses them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(someHead, { minLength: 1, maxLength: 12 }), async (heads) => {
      const bytes = Buffer.concat(heads.map((fields, index) => headers(index * 2 + 1, fields)))
      expect(differences(judgeByUs(bytes), await oracle.judge(bytes))).toEqual([])
    }),
    { seed: SEED, numRuns: RUNS },
  )
})

const someId = fc.constantFrom(0, 1, 1, 1, 3, 3, 5, 2)
const someFlags = fc.constantFrom(0, END_STREAM, END_HEADERS, END_STREAM | END_HEADERS, PADDED, 0xff)
const goodHead = fc.constantFrom(block(GET), block([...GET, ['content-length', '4']]), block([['x-t', '1']]))
const someFrame = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(someId, goodHead).map(([id, head]) => frame(1, END_HEADERS, id, head)) },
  {
    weight: 3,
    arbitrary: fc.tuple(someId, goodHead, someFlags).map(([id, head, flags]) => frame(1, flags, id, head)),
  },
  {
    weight: 6,
    arbitrary: fc
      .tuple(someId, fc.constantFrom('data', 'da'), fc.constantFrom(0, 0, 1))
      .map(([id, body, flags]) => data(id, body, flags)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(someId, fc.nat(6))
      .map(([id, pad]) => data(id, `${String.fromCharCode(pad)}abcd`, PADDED)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(someId, goodHead, someFlags)
      .map(([id, head, flags]) => continuation(id, head, flags)),
  },
  { weight: 1, arbitrary: fc.tuple(someId, fc.constantFrom(0, 8, 99)).map(([id, code]) => reset(id, code)) },
  {
    weight: 1,
    arbitrary: fc.tuple(someId, fc.constantFrom(0, 1, 0x7fff_ffff)).map(([id, by]) => windowUpdate(id, by)),
  },
  { weight: 1, arbitrary: fc.tuple(someId, someId).map(([id, parent]) => priority(id, parent)) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.nat(8), fc.constantFrom(0, 1, 16_384, 0xffff_ffff)).map((pair) => settings(pair)),
  },
  { weight: 1, arbitrary: fc.constant(ping('fuzzfuzz')) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(12), someFlags, someId, fc.uint8Array({ maxLength: 12 }))
      // What a client says last is not what this is about.
      .filter(([type]) => type !== FRAME.GOAWAY)
      .map(([type, flags, id, payload]) => frame(type, flags, id, payload)),
  },
)

it('understands streams of frames as node:http2 does, or refuses them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(someFrame, { minLength: 1, maxLength: 12 }), async (frames) => {
      const bytes = Buffer.concat(frames)
      expect(differences(judgeByUs(bytes), await oracle.judge(bytes))).toEqual([])
    }),
    { seed: SEED, numRuns: RUNS },
  )
})

it('understands random header blocks as node:http2 does, or refuses them', async () => {
  const octet = fc.oneof(
    fc.nat(255),
    fc.constantFrom(0x82, 0x84, 0x86, 0x41, 0x40, 0x00, 0x10, 0x20, 0x3f, 0xbe, 0x01, 0x7f),
  )
  const start = Buffer.concat([Buffer.from('828684', 'hex'), block([[':authority', 'tools.mesh']])])
  await fc.assert(
    fc.asyncProperty(fc.array(octet, { maxLength: 24 }), fc.boolean(), async (octets, isBehind) => {
      const head = isBehind
        ? Buffer.concat([start, Buffer.from(octets)])
        : Buffer.concat([Buffer.from(octets), start])
      const bytes = Buffer.concat([frame(1, END_HEADERS | END_STREAM, 1, head), headers(3, GET)])
      expect(differences(judgeByUs(bytes), await oracle.judge(bytes))).toEqual([])
    }),
    { seed: SEED, numRuns: RUNS },
  )
})

it('holds bodies against their declared length as node:http2 does', async () => {
  const piece = fc.tuple(fc.constantFrom('', 'a', 'bc', 'def'), fc.nat(3))
  const ending = fc.constantFrom('data', 'trailers', 'none')
  await fc.assert(
    fc.asyncProperty(fc.nat(7), fc.array(piece, { maxLength: 4 }), ending, async (length, pieces, end) => {
      const bytes = Buffer.concat([
        headers(1, [[':method', 'POST'], ...GET.slice(1), ['content-length', String(length)]], END_HEADERS),
        ...pieces.map(([body, pad]) =>
          data(1, `${String.fromCharCode(pad)}${body}${'\0'.repeat(pad)}`, PADDED),
        ),
        ...(end === 'data' ? [data(1, '')] : []),
        ...(end === 'trailers' ? [headers(1, [['x-t', '1']])] : []),
      ])
      expect(differences(judgeByUs(bytes), await oracle.judge(bytes))).toEqual([])
    }),
    { seed: SEED, numRuns: RUNS },
  )
})
