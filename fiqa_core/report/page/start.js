startBorder();
startGalleries();
startIdentities();
startReview();
document.documentElement.dataset.ready = "";
