// Our codec against node:http (llhttp) as a judge, on random requests and responses: what it refuses we refuse, and what we accept it reads the same
// way. But for methods: node:http knows a list of them, we take any token. Seeded, so that a failure can be repeated; SLOW=1 goes on for longer.

import { METHODS } from 'node:http'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  type Read,
  readRequestsByUs,
  readResponseByNode,
  readResponseByUs,
  ServerOracle,
} from '../support/http1-oracle.js'

const SEED = 20_261_122
const RUNS = process.env['SLOW'] === undefined ? 3000 : 60_000

const oracle = new ServerOracle()

/** We may have heard less; what we have heard must be what node:http has heard. */
function difference(ours: Read, theirs: Read | undefined): string | null {
  const isSame =
    theirs !== undefined &&
    JSON.stringify(ours.head) === JSON.stringify(theirs.head) &&
    (ours.isWhole
      ? theirs.isWhole &&
        ours.body === theirs.body &&
        JSON.stringify(ours.trailers) === JSON.stringify(theirs.trailers)
      : ours.body.startsWith(theirs.body) || theirs.body.startsWith(ours.body))
  return isSame ? null : `${JSON.stringify(ours)} is read as ${JSON.stringify(theirs)}`
}

const hostile = fc.constantFrom(
  ...'\0\t\n\r\r\n "#,%/:;@[\\]^{}|\x01\x7f\x80\xff+-.0123456789afxGHT'.split(''),
)
const someText = fc.oneof(
  fc.constantFrom('', ' ', '\t', '\r\n', '\n', '\r', '\r\n ', 'chunked', '0', '5', 'close', ' : ', 'a', ', '),
  fc.array(hostile, { maxLength: 4 }).map((octets) => octets.join('')),
)

/** What may be done to good bytes. */
const someChange = fc.oneof(
  fc.record({ insert: someText, at: fc.nat(1000) }),
  fc.record({ drop: fc.integer({ min: 1, max: 4 }), at: fc.nat(1000) }),
  fc.record({ set: hostile, at: fc.nat(1000) }),
)
const someChanges = fc.oneof(
  { weight: 1, arbitrary: fc.constant([]) },
  { weight: 2, arbitrary: fc.array(someChange, { minLength: 1, maxLength: 3 }) },
)

function changed(
  text: string,
  changes: readonly (typeof someChange extends fc.Arbitrary<infer C> ? C : never)[],
): string {
  let bytes = text
  for (const change of changes) {
    const at = change.at % (bytes.length + 1)
    if ('insert' in change) bytes = bytes.slice(0, at) + change.insert + bytes.slice(at)
    else if ('drop' in change) bytes = bytes.slice(0, at) + bytes.slice(at + change.drop)
    else bytes = bytes.slice(0, at) + change.set + bytes.slice(at + 1)
  }
  return bytes
}

const someField = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      'X-A: b',
      'x-a:',
      'X_B: \t c \t',
      'Cookie: a=b',
      'Connection: keep-alive',
      'Connection: x-a',
      'Connection: Upgrade, HTTP2-Settings',
      'Upgrade: h2c',
      'HTTP2-Settings: AAMAAABk',
      'Expect: 100-continue',
      'Keep-Alive: 5',
      'TE: trailers',
      'Trailer: x-t',
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'Connection: close',
      'Connection: x-a, cookie',
      'Content-Length: 5',
      'Transfer-Encoding: chunked',
      'Transfer-Encoding: gzip, chunked',
      'Host: b.mesh',
    ),
  },
)
const someChunks = fc
  .tuple(
    fc.array(fc.constantFrom('1\r\na\r\n', '00a\r\n0123456789\r\n', 'A\r\n\r\n\r\n\r\n\r\n\r\n\r\n'), {
      maxLength: 3,
    }),
    fc.constantFrom(
      '0\r\n\r\n',
      '0\r\nX-T: 1\r\nx-u:\r\n\r\n',
      '000\r\n\r\n',
      '0\r\nContent-Length: 1\r\n\r\n',
    ),
  )
  .map(([chunks, end]) => chunks.join('') + end)
const someBody = fc.oneof(
  fc.constant({ fields: [] as string[], body: '' }),
  fc.constantFrom('', 'hello', 'GET / HTTP/1.1\r\n\r\n').map((body) => ({
    fields: [`Content-Length: ${body.length}`],
    body,
  })),
  someChunks.map((body) => ({ fields: ['Transfer-Encoding: chunked'], body })),
)

const someRequest = fc
  .tuple(
    fc.constantFrom(
      'GET /',
      'GET /x?y',
      'POST /a%20b',
      'PUT http://a.mesh/x',
      'HEAD http://a.mesh?y',
      'CONNECT a.mesh:443',
    ),
    fc.constantFrom(...Array<string>(8).fill('HTTP/1.1'), 'HTTP/1.0', 'HTTP/2.0'),
    fc.array(someField, { maxLength: 2 }),
    someBody,
  )
  .map(([start, version, fields, { fields: framing, body }]) =>
    [`${start} ${version}`, 'Host: a.mesh', ...fields, ...framing, '', body].join('\r\n'),
  )

const someCuts = fc.array(fc.nat(2000), { maxLength: 4 })
function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((at) => at % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  return places.slice(1).map((at, index) => bytes.subarray(places[index], at))
}

it('understands requests as node:http does, or refuses them', async () => {
  let served = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(someRequest, { minLength: 1, maxLength: 3 }),
      someChanges,
      someCuts,
      async (requests, changes, cuts) => {
        const bytes = Buffer.from(changed(requests.join(''), changes), 'latin1')
        const heard = readRequestsByUs(cut(bytes, cuts))
        const theirs = await oracle.read(bytes)
        const strange = heard.findIndex(({ head }) => !METHODS.includes(head[0] ?? ''))
        const upgrade = theirs.findIndex(({ offersUpgrade }) => offersUpgrade) + 1
        const end = Math.min(strange < 0 ? heard.length : strange, upgrade || heard.length)
        const ours = heard.slice(0, end)
        served += ours.length
        expect(
          ours.map((read, index) => difference(read, theirs[index])).filter((found) => found !== null),
        ).toEqual([])
      },
    ),
    { seed: SEED, numRuns: RUNS },
  )
  expect(served).toBeGreaterThan(RUNS / 3)
})

const someResponse = fc
  .tuple(
    fc.constantFrom(
      '200 OK',
      '200 OK',
      '404 Not Found',
      '204 No Content',
      '304 Not Modified',
      '100 Continue',
      '103 Early Hints',
      '500 ',
    ),
    fc.constantFrom(...Array<string>(8).fill('HTTP/1.1'), 'HTTP/1.0', 'HTTP/2.0'),
    fc.array(someField, { maxLength: 2 }),
    someBody,
  )
  .map(([status, version, fields, { fields: framing, body }]) =>
    [`${version} ${status}`, ...fields, ...framing, '', body].join('\r\n'),
  )

it('understands responses as node:http does, or refuses them', async () => {
  let answered = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(someResponse, { minLength: 1, maxLength: 2 }),
      someChanges,
      someCuts,
      fc.record({ method: fc.constantFrom('GET', 'GET', 'POST', 'HEAD'), isEnded: fc.boolean() }),
      async (responses, changes, cuts, { method, isEnded }) => {
        const bytes = Buffer.from(changed(responses.join(''), changes), 'latin1')
        const ours = readResponseByUs(cut(bytes, cuts), method, isEnded)
        const theirs = await readResponseByNode(bytes, method, isEnded)
        if (ours.final === null) return
        answered += 1
        expect(difference(ours.final, theirs.final ?? undefined)).toBeNull()
        expect(ours.interims).toBe(theirs.interims)
      },
    ),
    { seed: SEED, numRuns: RUNS },
  )
  expect(answered).toBeGreaterThan(RUNS / 5)
})
