/* The start of the scripts of a page in a portal's frame: what each button does. */

import * as portal from './bridge.js'
import { tryAgain } from './connection.js'
import { askToDefer, closeDialog } from './dialog.js'
import './jobs.js'
import './keys.js'
import { find, page } from './page.js'
import { clearSelection, selectEverything } from './selection.js'
import { reopen } from './ticket.js'

const PRESSES = {
  '[data-reopen]': reopen,
  '[data-reload]': portal.reloadWindow,
  '[data-clear]': clearAndStay,
  '[data-select-all]': selectEverything,
  '[data-defer]': askToDefer,
  '[data-close]': closeDialog,
  '[data-clear-filter]': clearFilter,
  '[data-again]': tryAgain,
  '[data-path]': openTask,
}

document.addEventListener('click', (event) => {
  for (const [selector, act] of Object.entries(PRESSES)) {
    const pressed = event.target.closest(selector)
    if (pressed) act(pressed, event)
  }
})

/** Show a task in the portal's slider. When the person closes it, refresh the list. */
async function openTask(link, event) {
  const isLink = !portal.inPortal || event.ctrlKey || event.metaKey || event.shiftKey
  if (isLink) return // the browser opens a new tab
  event.preventDefault()
  const answer = await portal.openPath(link.dataset.path)
  if (answer?.result === 'error') window.open(link.href, '_blank', 'noopener')
  else if (find('#list')) window.htmx.trigger('#list', 'refresh')
}

function clearAndStay() {
  clearSelection()
  find('#pick-page, #top')?.focus()
}

function clearFilter() {
  find('#search').value = ''
  find('#filter [value=progress]').checked = true
  window.htmx.trigger('#filter', 'submit')
  find('#search').focus()
}

document.addEventListener('installed', () => {
  portal.installFinish() // the portal sends no answer: it loads the app in place of the installer
  setTimeout(() => { find('#reload').hidden = false }, 8000)
})

// htmx sends our forms. If htmx has not processed a form yet, the browser must not navigate the frame away.
document.addEventListener('submit', (event) => event.preventDefault())

// On the app's full page our frame is low and may grow. In a slider the frame has its height already.
if (['DEFAULT', 'REST_APP_URI'].includes(page.placement)) portal.grow(Math.max(600, screen.availHeight - 260))
