import { expect, test } from 'vitest'
import { buildIndex, type Hit, passagesOf, wordsOf } from '../../../examples/search.js'
import { openDesk } from './desk.js'

test('words are folded, stripped of stop words and plurals, and kept whole as well as in parts', () => {
  expect(wordsOf('The Tokens of `feed.maxStaleness`')).toEqual([
    'token',
    'feed.maxstaleness',
    'feed',
    'maxstaleness',
  ])
})

test('a passage knows its file, its first line and its heading', () => {
  const markdown =
    '# Title\n\nfirst\nparagraph\n\n## Ports\n\n| a | b |\n|---|---|\n| c | d |\n| e | f |\nlast'
  expect(passagesOf('docs/x.md', markdown).map(({ line, heading, text }) => [line, heading, text])).toEqual([
    [3, 'Title', 'first paragraph'],
    [10, 'Ports', '| c | d |'],
    [11, 'Ports', '| e | f |'],
    [12, 'Ports', 'last'],
  ])
})

test('the passage that holds the rarer words of the query comes first', () => {
  const search = buildIndex(
    passagesOf(
      'x.md',
      'the token is common\n# Life\nthe token expires after ten minutes\n# End\nthe token is spent',
    ),
  )
  expect(search('when does a token expire? ten minutes', 1)).toMatchObject([{ line: 3 }])
  expect(search('zebra', 5)).toEqual([])
})

test('search answers with hits in this project, and refuses what it cannot answer', async () => {
  await using desk = await openDesk()
  const get = (path: string, secret = desk.secret) =>
    fetch(`${desk.searchUrl}${path}`, { headers: { 'x-troth-ingress': secret } })
  const { hits } = (await (await get('/search?q=ledger&limit=3')).json()) as { hits: Hit[] }
  expect(hits).toHaveLength(3)
  expect(hits.every(({ file, line }) => /^(README\.md|docs\/.+\.md)$/.test(file) && line > 0)).toBe(true)
  expect((await get('/search?q=')).status).toBe(400)
  expect((await get('/elsewhere?q=x')).status).toBe(404)
  expect((await get('/search?q=x', 'wrong')).status).toBe(403)
})
