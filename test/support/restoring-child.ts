// A process that restores a backup and may be killed while it does: home, file, passphrase.

import { restoreCa } from '../../ca/recovery/restore.js'
import { systemClock } from '../../host/clock.js'

const [home = '', file = '', passphrase = ''] = process.argv.slice(2)
await restoreCa({ home, file, passphrase, address: null, clock: systemClock })
