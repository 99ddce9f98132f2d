import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { errorsPage, main } from '../../../docs/generate.js'
import { ERRORS } from '../../../mesh/errors.js'

describe('docs/errors.md', () => {
  const page = errorsPage(ERRORS)

  it('is what the table of errors says', () => {
    expect(readFileSync('docs/errors.md', 'utf8')).toBe(page)
    expect(main(['--check'])).toBe(0)
  })

  it.each(Object.keys(ERRORS))('has one anchor for %s', (code) => {
    expect(page.split(`<a id="${code}"></a>`)).toHaveLength(2)
  })

  it('knows a group for every code', () => {
    const rest = page.split('## Everything else')[1] ?? ''
    expect([...rest.matchAll(/<a id="([A-Z_]+)">/g)].map(([, code]) => code)).toEqual(['INTERNAL'])
  })

  it('shows angle brackets of a hint as text', () => {
    const spec = { status: 400, exit: 1, retryable: false, when: 'x', hint: 'use <name>' } as const
    expect(errorsPage({ A: spec })).toContain('use \\<name\\>')
  })
})
