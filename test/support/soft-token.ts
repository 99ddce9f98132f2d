// A PKCS#11 token of SoftHSM2 in a directory of its own. Where SoftHSM2 or pkcs11js is not installed the tests that need it are
// skipped, and their names say why.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'

export const SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so'
export const PIN = '648219'

/** Why there are no tokens here; undefined: there are. */
export function whyNoToken(): string | undefined {
  if (!existsSync(SOFTHSM)) return 'softhsm2 is not installed'
  try {
    createRequire(import.meta.url)('pkcs11js')
    return undefined
  } catch {
    return 'pkcs11js was not compiled here'
  }
}

/** A fresh token, seen by this process too. Tokens must be made before the module is first loaded here. */
export function makeSoftTokens(
  ...labels: readonly string[]
): Disposable & { env: { readonly SOFTHSM2_CONF: string } } {
  const dir = mkdtempSync(path.join(tmpdir(), 'ttoken-'))
  const conf = path.join(dir, 'softhsm2.conf')
  writeFileSync(conf, `directories.tokendir = ${dir}\nobjectstore.backend = file\nlog.level = ERROR\n`)
  const env = { SOFTHSM2_CONF: conf }
  for (const label of labels)
    execFileSync(
      'softhsm2-util',
      ['--init-token', '--free', '--label', label, '--pin', PIN, '--so-pin', '12345678'],
      { env: { ...process.env, ...env }, stdio: 'pipe' },
    )
  process.env['SOFTHSM2_CONF'] = conf
  return {
    env,
    [Symbol.dispose]: () => {
      delete process.env['SOFTHSM2_CONF']
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
