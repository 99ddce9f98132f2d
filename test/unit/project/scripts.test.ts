import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
  bin: Record<string, string>
  engines: { node: string }
  scripts: Record<string, string>
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
}

describe('package.json', () => {
  it.each([
    'start',
    'test',
    'check',
    'fix',
    'bench',
    'bench:peers',
    'certs-dev',
    'docs:errors',
    'docs:check',
    'build',
    'prepare',
  ])('has the script %s', (name) => {
    expect(manifest.scripts[name]).toBeTypeOf('string')
  })

  it.each(Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }))(
    'pins %s to exactly one version (%s)',
    (_name, version) => {
      expect(version).toMatch(/^\d+\.\d+\.\d+$/)
    },
  )

  it('runs on Node 20, as the command troth', () => {
    expect(manifest.engines.node).toBe('>=20.19')
    expect(manifest.bin).toEqual({ troth: 'dist/cli/main.js' })
  })

  it.each(
    Object.values(manifest.scripts).flatMap((script) =>
      [...script.matchAll(/node (dist\/\S+\.js)/g)].map(([, built]) => built ?? ''),
    ),
  )('runs %s, which has a source', (built) => {
    expect(existsSync(built.replace(/^dist\//, '').replace(/\.js$/, '.ts'))).toBe(true)
  })
})
