import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, it } from 'vitest'
import { backupCa } from '../../ca/recovery/backup.js'
import { restoreCa } from '../../ca/recovery/restore.js'
import { systemClock } from '../../host/clock.js'
import { startCa } from '../support/running-ca.js'

it('a backup holds the files that belong to its database, also when they change or go while it is written', async () => {
  await using ca = await startCa()
  const dir = path.join(ca.home, 'ca')
  const [issuing, key] = ['issuing.pem', 'issuing.key.pem'].map((name) => path.join(dir, name)) as [
    string,
    string,
  ]
  const before = [issuing, key].map((file) => readFileSync(file, 'utf8'))
  const scratch = mkdtempSync(path.join(tmpdir(), 'tbackup-'))
  const home = mkdtempSync(path.join(tmpdir(), 'tca-'))
  try {
    const backup = { file: path.join(scratch, 'ca.backup'), passphrase: 'backup', clock: systemClock }
    const done = backupCa({ home: ca.home, ...backup })
    // its database is copied; now its own key is being derived, which takes half a second
    await settled(() => sizesBelow(ca.home))
    writeFileSync(issuing, 'the next one')
    rmSync(key)
    await done
    await restoreCa({ home, address: null, ...backup })
    const restored = ['issuing.pem', 'issuing.key.pem'].map((name) => path.join(home, 'ca', name))
    expect(restored.map((file) => readFileSync(file, 'utf8'))).toEqual(before)
  } finally {
    for (const each of [scratch, home]) rmSync(each, { recursive: true })
  }
})

/** Of the databases in directories other than the CA's own. */
const sizesBelow = (home: string): string =>
  readdirSync(home)
    .filter((name) => name.startsWith('backup.new-') && existsSync(path.join(home, name, 'ca.db')))
    .map((name) => statSync(path.join(home, name, 'ca.db')).size)
    .join()

/** Resolves when there is something that has not changed for a tenth of a second: the copy is made in steps of a turn each. */
async function settled(look: () => string): Promise<void> {
  const end = performance.now() + 5000
  let [seen, since] = ['', performance.now()]
  while (seen === '' || performance.now() - since < 100) {
    const now = look()
    if (now !== seen) [seen, since] = [now, performance.now()]
    if (performance.now() > end) throw new Error('it did not come to be')
    await new Promise((resolve) => setImmediate(resolve))
  }
}
