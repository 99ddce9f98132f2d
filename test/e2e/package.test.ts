// `npm pack` gives a tarball that installs globally on another host and works.

import { mkdirSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { openCliHome } from '../support/cli-home.js'

it('installs from its tarball and runs', { timeout: 400_000 }, async () => {
  await using home = openCliHome()
  const pack = await home.run('npm', ['pack', '--ignore-scripts', '--pack-destination', home.dir])
  expect(pack.code, pack.stderr).toBe(0)
  const [tarball = ''] = readdirSync(home.dir).filter((name) => name.endsWith('.tgz'))
  const prefix = path.join(home.dir, 'prefix')
  mkdirSync(prefix)
  const install = await home.run(
    'npm',
    ['install', '--global', '--prefix', prefix, path.join(home.dir, tarball)],
    { cwd: home.dir },
  )
  expect(install.code, install.stderr).toBe(0)
  const troth = path.join(prefix, 'bin/troth')
  expect((await home.run(troth, ['--version'], { cwd: home.dir })).stdout).toMatch(/\d+\.\d+\.\d+/)
  const init = await home.run(troth, ['init', '--trust-domain', 'acme.internal', '--dev'], { cwd: home.dir })
  expect(init.code, init.stderr).toBe(0)
  const list = await home.run(troth, ['agent', 'list'], { cwd: home.dir })
  expect(list).toMatchObject({ code: 5 })
  expect(list.stderr).toMatch(/hint: .*troth up/)
})
