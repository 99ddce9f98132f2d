// Our client against that of node:http2, on random answers: what it refuses we refuse, and what we accept it reads the same way. Seeded.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  type Answer,
  answersToNode,
  answersToUs,
  type ClientVerdict,
} from '../support/http2-client-oracle.js'
import { data, END_HEADERS, END_STREAM, headers, reset } from '../support/http2-raw.js'

const SEED = 20_260_822
const RUNS = process.env['SLOW'] === undefined ? 150 : 5000

function differences(ours: ClientVerdict, theirs: ClientVerdict): string[] {
  if (ours.isBroken) return []
  if (theirs.isBroken)
    return ours.answers.some(({ isReset }) => isReset) ? [] : ['node gives the connection up']
  return ours.answers.flatMap((answer, index) => {
    const other = theirs.answers[index]
    if (other === undefined || answer.isReset || same(answer, other)) return []
    return [`answer ${index}: ${JSON.stringify(answer)} is read as ${JSON.stringify(other)}`]
  })
}

const same = (ours: Answer, theirs: Answer): boolean =>
  !theirs.isReset &&
  JSON.stringify(ours.head) === JSON.stringify(theirs.head) &&
  JSON.stringify(ours.trailers) === JSON.stringify(theirs.trailers) &&
  (ours.isWhole ? theirs.isWhole && ours.body === theirs.body : ours.body.startsWith(theirs.body))

const someValue = fc.oneof(
  fc.constantFrom('200', '204', '304', '100', '103', '101', '600', '20', '4', '0', 'trailers', 'close', ''),
  fc
    .array(fc.constantFrom(...'\0\t\n\r a:\x01\x7f\x80\xff'.split('')), { maxLength: 3 })
    .map((octets) => octets.join('')),
)
const someName = fc.constantFrom(
  ':status',
  ':path',
  ':method',
  ':other',
  'content-length',
  'connection',
  'transfer-encoding',
  'te',
  'upgrade',
  'keep-alive',
  'x-a',
  'X-A',
  '',
  'set-cookie',
  'host',
  'x a',
)
const someHead = fc
  .tuple(
    fc.constantFrom('200', '200', '200', '204', '304', '103', '404'),
    fc.array(fc.tuple(someName, someValue), { maxLength: 2 }),
    fc.boolean(),
  )
  .map(([status, fields, isFirst]) => {
    const pseudo = [':status', status] as const
    return isFirst ? [pseudo, ...fields] : [...fields.slice(0, 1), pseudo, ...fields.slice(1)]
  })

const someAnswer = fc.record({
  head: someHead,
  ends: fc.boolean(),
  again: fc.option(someHead),
  pieces: fc.array(fc.constantFrom('', 'data', 'x'), { maxLength: 3 }),
  ending: fc.constantFrom('data', 'trailers', 'reset', 'none'),
})

it('understands answers as node:http2 does, or refuses them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(someAnswer, { minLength: 1, maxLength: 6 }), async (answers) => {
      const bytes = Buffer.concat(
        answers.flatMap(({ head, ends, again, pieces, ending }, index) => {
          const id = index * 2 + 1
          if (ends) return [headers(id, head, END_HEADERS | END_STREAM)]
          return [
            headers(id, head, END_HEADERS),
            ...(again === null ? [] : [headers(id, again, END_HEADERS)]),
            ...pieces.map((piece) => data(id, piece, 0)),
            ...(ending === 'data' ? [data(id, '')] : []),
            ...(ending === 'trailers' ? [headers(id, [['x-t', '1']])] : []),
            ...(ending === 'reset' ? [reset(id, 2)] : []),
          ]
        }),
      )
      const theirs = await answersToNode(bytes, answers.length)
      expect(differences(answersToUs(bytes, answers.length), theirs)).toEqual([])
    }),
    { seed: SEED, numRuns: RUNS },
  )
})
