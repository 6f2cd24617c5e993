/* What the page does by itself: tickets, the selection, the dialog, and waiting out a lost connection. */

import * as portal from './bridge.js'

const TICKET_AGE = 12 * 60 * 1000 // milliseconds; the server takes tickets for 15 minutes
const BACK_OFF = [1000, 2000, 5000, 10000, 30000] // milliseconds between attempts without a connection
const MOST = 5000 // tasks in one selection

const page = document.body.dataset
const find = (selector) => document.querySelector(selector)
const numbers = new Intl.NumberFormat(document.documentElement.lang)

// -- Tickets: our proof of who opened the page, in a variable because storage is closed to foreign frames --------

let ticket = page.ticket
let ticketAt = Date.now()
let renewing = null
delete page.ticket

function keepTicket(fresh) {
  if (fresh) [ticket, ticketAt] = [fresh, Date.now()]
}

/** A ticket for fresh tokens from the portal; several requests in need share one renewal. */
function renew() {
  renewing ??= askForTicket().finally(() => { renewing = null })
  return renewing
}

async function askForTicket() {
  fillOpening(await portal.refreshAuth())
  const form = find('#opening')
  const reply = await fetch('/ticket/' + new URL(form.action).search, { method: 'POST', body: new FormData(form) })
  if (!reply.ok) throw new Error('no ticket')
  keepTicket(reply.headers.get('X-Ticket'))
}

function fillOpening(tokens) {
  for (const name of ['AUTH_ID', 'REFRESH_ID', 'AUTH_EXPIRES']) find('#opening').elements[name].value = tokens[name]
}

/** Open the whole page anew with fresh tokens, where it stands. */
async function reopen() {
  try {
    fillOpening(await portal.refreshAuth())
    find('#opening').submit()
  } catch {
    showInstead('gone')
  }
}

function showInstead(template) {
  find('#dialog')?.close()
  find('#app, #install')?.replaceChildren(find(`#${template}`).content.cloneNode(true))
  find('[data-reopen]')?.focus()
}

document.addEventListener('htmx:confirm', (event) => {
  if (!ticket || Date.now() - ticketAt < TICKET_AGE) return
  event.preventDefault()
  renew().catch(() => {}).then(() => event.detail.issueRequest(true)) // without one, the server's 401 decides
})

document.addEventListener('htmx:configRequest', ({ detail }) => {
  if (ticket) detail.headers['X-Ticket'] = ticket
})

document.addEventListener('htmx:beforeOnLoad', (event) => {
  const { xhr, requestConfig } = event.detail
  reconnected()
  keepTicket(xhr.getResponseHeader('X-Ticket'))
  if (xhr.status !== 401) return
  event.preventDefault()
  if (requestConfig.headers['X-Replay']) showInstead('ended')
  else renew().then(() => replay(event.detail), () => showInstead('ended'))
})

function replay({ requestConfig, elt, target, etc }) {
  window.htmx.ajax(requestConfig.verb, requestConfig.path, {
    source: elt,
    target,
    swap: etc.swapOverride,
    values: requestConfig.formData,
    headers: { 'X-Replay': '1' },
  }).catch(() => {}) // told by htmx:sendError
}

// -- Connection: polls wait for it and for somebody to look, then go on by themselves ----------------------------

let attempts = 0

function reconnected() {
  attempts = 0
  find('#offline').hidden = true
}

document.addEventListener('htmx:sendError', ({ detail }) => {
  tell(find('#offline'))
  tryAgainLater(detail.elt)
})

document.addEventListener('htmx:responseError', ({ detail }) => {
  if (detail.elt.matches('[data-poll]') && detail.xhr.status >= 500) return tryAgainLater(detail.elt)
  tell(find('#broken'))
})

/** Show a strip on top of the page, or in the dialog while that is open: nobody reaches what is behind it. */
function tell(strip) {
  const dialog = find('#dialog')
  const place = dialog?.open ? dialog : document.body
  if (strip.parentElement !== place) place.prepend(strip)
  strip.hidden = false
}

function takeBackStrips() {
  find('#broken').hidden = true
  document.body.prepend(find('#offline'), find('#broken'))
}

function tryAgainLater(element) {
  const delay = BACK_OFF[Math.min(attempts++, BACK_OFF.length - 1)]
  if (element.matches('#dialog, #dialog form')) {
    setTimeout(() => element.isConnected && find('#dialog').open && tryAgainInDialog(), delay)
    return
  }
  const again = element.matches('[data-poll]') ? 'poll' : element.closest('#list, #filter') && 'refresh'
  const asking = again === 'refresh' ? find('#list') : element
  if (again) setTimeout(() => asking.isConnected && window.htmx.trigger(asking, again), delay)
}

document.addEventListener('htmx:beforeRequest', (event) => {
  if (document.hidden && event.detail.elt.matches('[data-poll]')) event.preventDefault()
})

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return
  document.querySelectorAll('[data-poll]').forEach((poll) => window.htmx.trigger(poll, 'poll'))
  lookAgain()
})

/** Another tab may have started, stopped or closed a job: both show the same. */
function lookAgain() {
  if (find('#job') && navigator.onLine) window.htmx.trigger('#job', 'seen')
}

window.addEventListener('focus', lookAgain)
document.addEventListener('job-asked', lookAgain)

// -- The selection: tasks ticked one by one, or everything that matches but a few ---------------------------------

const ticked = new Set()
const excluded = new Set()
let everything = null // the query that "everything" means, or null
let everythingCount = 0
let lastPicked = null

const boxes = () => [...document.querySelectorAll('#list tbody .pick input')]
const isPicked = (id) => (everything === null ? ticked.has(id) : !excluded.has(id))
const count = () => (everything === null ? ticked.size : Math.max(0, everythingCount - excluded.size))

function pick(box, on) {
  if (everything === null) on && (ticked.has(box.value) || ticked.size < MOST) ? ticked.add(box.value) : ticked.delete(box.value)
  else on ? excluded.delete(box.value) : excluded.add(box.value)
}

function clearSelection() {
  ticked.clear()
  excluded.clear()
  everything = null
  showSelection()
}

/** Bring the checkboxes, the banner and the bar in line with the selection. */
function showSelection() {
  const all = boxes()
  for (const box of all) box.checked = isPicked(box.value)
  const onPage = all.filter((box) => box.checked).length
  const head = find('#pick-page')
  if (head) {
    head.checked = onPage > 0 && onPage === all.length
    head.indeterminate = onPage > 0 && onPage < all.length
  }
  showBanner(all.length > 0 && onPage === all.length, all.length)
  const bar = find('#bulk')
  if (!bar) return
  bar.hidden = count() === 0
  find('#count').textContent = words(page.selected, count())
  sayLater(bar.hidden ? '' : words(page.announced, count()))
}

function showBanner(pageIsFull, onPage) {
  const banner = find('#banner')
  if (!banner) return
  const offer = everything === null && pageIsFull && Number(find('#list').dataset.total) > onPage
  const told = everything !== null && excluded.size === 0
  banner.hidden = !offer && !told
  banner.querySelector('[data-page-selected]').hidden = !offer
  banner.querySelector('[data-all-selected]').hidden = !told
}

const words = (sentence, number) => sentence.replace('{n}', numbers.format(number))

let saying = null
let said = ''

/** Tell assistive technology, once things have calmed down. */
function sayLater(sentence) {
  if (sentence === said) return
  said = sentence
  clearTimeout(saying)
  saying = setTimeout(() => { find('#live').textContent = sentence }, 500)
}

document.addEventListener('click', (event) => {
  const box = event.target.closest('#list tbody .pick input')
  if (box) pickUpTo(box, event.shiftKey)
})

/** Tick or untick a box, and with Shift all boxes from the last one on. */
function pickUpTo(box, isRange) {
  const all = boxes()
  const from = isRange && lastPicked ? all.findIndex((other) => other.value === lastPicked) : -1
  const to = all.indexOf(box)
  const range = from < 0 ? [box] : all.slice(Math.min(from, to), Math.max(from, to) + 1)
  for (const one of range) pick(one, box.checked)
  lastPicked = box.value
  showSelection()
}

document.addEventListener('change', (event) => {
  if (event.target.id !== 'pick-page') return
  for (const box of boxes()) pick(box, event.target.checked)
  showSelection()
})

function selectEverything() {
  everything = find('#list').dataset.query
  everythingCount = Number(find('#list').dataset.selectable)
  ticked.clear()
  excluded.clear()
  showSelection()
  find('[data-defer]').focus()
}

let shownQuery = null
let shownPage = null

/** A list has arrived: what was ticked on it stays ticked; "everything" ends where the list is another one. */
function listArrived() {
  const list = find('#list')
  if (!list) return
  if (everything !== null && everything !== list.dataset.query) {
    clearSelection()
    sayLater(page.cleared)
  }
  if (shownQuery === null && list.dataset.ticked) {
    const box = boxes().find((other) => other.value === list.dataset.ticked)
    if (box) pick(box, true)
  }
  if (shownPage !== list.dataset.page) for (const scroller of document.querySelectorAll('#app, .scroll')) scroller.scrollTop = 0
  shownPage = list.dataset.page
  shownQuery = list.dataset.query
  lastPicked = null
  showSelection()
}

document.addEventListener('htmx:beforeRequest', ({ detail }) => {
  if (detail.target.id === 'list') detail.target.setAttribute('aria-busy', 'true')
})

document.addEventListener('htmx:afterRequest', ({ detail }) => detail.target.removeAttribute('aria-busy'))
document.addEventListener('htmx:afterSettle', listArrived)

// -- The dialog ----------------------------------------------------------------------------------------------------

/** Ask what deferring the selection would do; the answer fills the dialog. */
function askToDefer() {
  const dialog = find('#dialog')
  find('#dialog-body').replaceChildren(find('#dialog-wait').content.cloneNode(true))
  find('#broken').hidden = true
  if (!dialog.open) dialog.showModal()
  heading = null
  readSelection()
}

function readSelection() {
  const list = find('#list').dataset
  const values = Object.fromEntries(new URLSearchParams(everything ?? list.query))
  if (everything === null) values.ids = [...ticked].join()
  else Object.assign(values, { everything: '1', excluded: [...excluded].join(), total: everythingCount })
  const into = { source: '#dialog', target: '#dialog-body', swap: 'innerHTML', values }
  window.htmx.ajax('POST', '/selections/', into).catch(() => {}) // told by htmx:sendError
}

/** Repeat what failed. The key makes one job of a form that is sent twice. */
function tryAgainInDialog() {
  const form = find('#dialog form')
  if (form) form.requestSubmit()
  else readSelection()
}

function tryAgain() {
  find('#broken').hidden = true
  if (find('#dialog')?.open) tryAgainInDialog()
  else window.htmx.trigger('#list', 'refresh')
}

document.addEventListener('close', takeBackStrips, true)

let heading = null // of the dialog, as the person has heard it

document.addEventListener('htmx:beforeSwap', (event) => {
  if (event.detail.target.id === 'dialog-body' && !find('#dialog').open) event.detail.shouldSwap = false
})

document.addEventListener('htmx:afterSettle', ({ detail }) => {
  if (detail.target.id !== 'dialog-body') return
  const key = find('#dialog [name=key]')
  if (key) key.value = newKey()
  find('#broken').hidden = true
  const title = find('#dialog-title')
  if (title.textContent === heading) return // an answer to a poll: whoever moved on stays there
  heading = title.textContent
  const first = find('#dialog [data-focus]') ?? title
  first.focus()
})

/** 128 random bits. (crypto.randomUUID is missing where the portal itself is not https.) */
function newKey() {
  const bytes = [...crypto.getRandomValues(new Uint8Array(16))]
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

document.addEventListener('job-started', () => {
  find('#dialog').close()
  clearSelection()
  find('#job-title')?.focus()
})

document.addEventListener('job-steered', () => find('#job-title')?.focus())

document.addEventListener('job-finished', () => {
  const busyElsewhere = document.activeElement.closest('#list, #filter, dialog')
  if (!busyElsewhere) find('#job-title')?.focus()
  window.htmx.trigger('#list', 'refresh')
})

document.addEventListener('job-closed', () => {
  find('#job-title, #top')?.focus()
  window.htmx.trigger('#list', 'refresh')
})

// -- Setting up ----------------------------------------------------------------------------------------------------

document.addEventListener('installed', () => {
  portal.installFinish() // never answered: the portal loads the app in our place
  setTimeout(() => { find('#reload').hidden = false }, 8000)
})

// htmx sends our forms. One that it has not got hold of yet must not take the whole frame away.
document.addEventListener('submit', (event) => event.preventDefault())

// -- Presses and keys ----------------------------------------------------------------------------------------------

const PRESSES = {
  '[data-reopen]': reopen,
  '[data-reload]': portal.reloadWindow,
  '[data-clear]': clearAndStay,
  '[data-select-all]': selectEverything,
  '[data-defer]': askToDefer,
  '[data-close]': () => find('#dialog').close(),
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

/** Show a task in the portal's slider, and the list anew when it is closed. Elsewhere the link is just a link. */
async function openTask(link, event) {
  if (!portal.inPortal || event.ctrlKey || event.metaKey || event.shiftKey) return
  event.preventDefault()
  const reply = await portal.openPath(link.dataset.path)
  if (reply?.result === 'error') window.open(link.href, '_blank', 'noopener')
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

document.addEventListener('keydown', (event) => {
  const box = event.target.closest('#list .pick input')
  if (!event.target.closest('#list') || event.altKey) return
  if ((event.ctrlKey || event.metaKey) && event.key === 'a' && box) pressedAll(event)
  else if (event.ctrlKey || event.metaKey) return
  else if (event.key === 'Escape') clearSelection()
  else if (event.key === '/') moveTo(find('#search'), event)
  else if (event.key === 'd' && count()) moveTo(find('[data-defer]'), event)?.click()
  else if (box) stepFrom(box, event)
})

/** Ctrl+A ticks the page; once it is full, everything that matches. */
function pressedAll(event) {
  event.preventDefault()
  if (!find('#banner').hidden && everything === null) return selectEverything()
  for (const box of boxes()) pick(box, true)
  showSelection()
}

function stepFrom(box, event) {
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key]
  const all = boxes()
  if (step) moveTo(all[all.indexOf(box) + step], event)
  else if (event.key === 'x' && box.id !== 'pick-page') box.click()
}

function moveTo(element, event) {
  if (!element) return null
  event.preventDefault()
  element.focus()
  return element
}

// -- Beginning -----------------------------------------------------------------------------------------------------

// What was ticked before this script was there counts.
for (const box of boxes()) {
  if (box.checked || find('#pick-page').checked) pick(box, true)
}
listArrived()
// On the app's full page our frame is low and may grow; a slider has its height and says nothing.
if (page.placement === 'DEFAULT' || page.placement === 'REST_APP_URI') portal.grow(Math.max(600, screen.availHeight - 260))
